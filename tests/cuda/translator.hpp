// From a kernel's PTX to a C function.
#pragma once

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "machine.hpp"

typedef std::vector<std::string> Words;

std::string trimmed(const std::string &text);
// At commas that no bracket holds.
Words listed(const std::string &text);
// A name of PTX as one of C.
std::string identifier(const std::string &name);
bool is_type(const std::string &word);
int bits_of(const std::string &type);

// What is declared to lie in memory: `.align 4 .b8 name[28] = {…}`.
struct Declared {
    int align = 4;
    std::string element, name, values;
    size_t count = 1;
    size_t bytes() const { return bits_of(element) / 8 * count; }
};
Declared declared(const std::string &text);

// One instruction, taken apart.
struct Instruction {
    std::string text;
    Words words;     // of the opcode, between its dots
    Words operands;
    std::string operation, type;
    bool has(const char *word) const;
    bool is_float() const { return type[0] == 'f' || type == "bf16"; }
};

class Translator {
public:
    // Addresses of a module's own memory, as C.
    explicit Translator(std::map<std::string, std::string> globals) : symbols(std::move(globals)) {}
    // The C function of a kernel, given what stands before its braces and within.
    std::string function(const std::string &header, const std::string &body, Kernel &kernel);

private:
    std::map<std::string, std::string> symbols;
    std::map<std::string, bool> registers;
    std::map<std::string, Words> tables;
    Kernel *kernel = nullptr;
    std::stringstream declarations, out;
    int sites = 0;

    void parameters(const std::string &header);
    void statement(const std::string &text);
    void declaration(const std::string &text);
    void instruction(std::string text);
    void emit(const Instruction &i);

    bool memory(const Instruction &i);
    bool arithmetic(const Instruction &i);
    bool bit_operation(const Instruction &i);
    bool flow(const Instruction &i);
    bool together(const Instruction &i);
    void load_or_store(const Instruction &i);
    void pack(const Instruction &i);
    void atomic(const Instruction &i);
    bool pair(const Instruction &i);
    void convert(const Instruction &i);
    void multiply(const Instruction &i);
    void compare(const Instruction &i);
    void fragment(const Instruction &i);
    void product(const Instruction &i);

    [[noreturn]] void refuse(const std::string &what) const;
    // An operand's bits; its value as a type; the address within its brackets.
    std::string bits(const std::string &operand) const;
    std::string value(const std::string &operand, const std::string &type) const;
    std::string address(const std::string &operand) const;
    void write(const std::string &to, const std::string &type, const std::string &expression);
    int site();
};
