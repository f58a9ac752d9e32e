// What instructions do that threads carry out together: barriers, exchanges within a warp, products of matrices.

#include <cstdio>

#include "translator.hpp"

using std::string;
using std::to_string;

bool Translator::together(const Instruction &i) {
    const Words &o = i.operands;
    auto wait = [&](Kind kind, const string &data) { out << "TOGETHER(" << kind << ", " << site() << ", " << data << "); "; };
    if (i.operation == "bar" || i.operation == "barrier") {
        bool warp = i.has("warp");
        // The others count threads, or have numbers.
        if (!warp && (!i.has("sync") || o.size() != 1 || o[0] != "0")) refuse(i.text);
        if (warp) out << "{ u32 m_ = " << value(o[0], "u32") << "; ";
        wait(warp ? WARP_BARRIER : BLOCK_BARRIER, warp ? "&m_" : "0");
        out << (warp ? "}\n" : "\n");
    } else if (i.operation == "activemask") {
        out << "{ u32 v_ = 0; ";
        wait(ACTIVE, "&v_");
        out << identifier(o[0]) << " = v_; }\n";
    } else if (i.operation == "shfl") {
        size_t bar = o[0].find('|');
        out << "{ struct Shuffle s_ = {" << value(o[4], "u32") << ", " << (i.has("idx") ? 0 : i.has("up") ? 1 : i.has("down") ? 2 : 3) << ", " << value(o[1], "u32") << ", "
            << value(o[2], "u32") << ", " << value(o[3], "u32") << "}; ";
        wait(SHUFFLE, "&s_");
        out << identifier(trimmed(o[0].substr(0, bar))) << " = s_.out; ";
        if (bar != string::npos) out << identifier(trimmed(o[0].substr(bar + 1))) << " = s_.ok; ";
        out << "}\n";
    } else if (i.operation == "vote") {
        if (!i.has("all") && !i.has("any") && !i.has("ballot")) refuse(i.text);
        out << "{ struct Vote s_ = {" << value(o[2], "u32") << ", " << (i.has("all") ? 0 : i.has("any") ? 1 : 2) << ", " << value(o[1], "pred") << "}; ";
        wait(VOTE, "&s_");
        out << identifier(o[0]) << " = s_.out; }\n";
    } else if (i.operation == "wmma") {
        if (i.words[1] == "mma") product(i);
        else fragment(i);
        // Nobody writes before all have read.
        out << "{ u32 m_ = -1; ";
        wait(WARP_BARRIER, "&m_");
        out << "}\n";
    } else return false;
    return true;
}

// A fragment goes to or comes from memory. Which lane has which element is the hardware's own affair: here they lie in order.
void Translator::fragment(const Instruction &i) {
    bool load = i.words[1] == "load", row = i.has("row");
    int m = 0, n = 0, k = 0;
    for (const string &word : i.words)
        if (sscanf(word.c_str(), "m%dn%dk%d", &m, &n, &k) == 3) break;
    if (k == 0 || (i.type != "tf32" && i.type != "f32") || i.operands.size() != 3) refuse(i.text);
    string part = i.words[2];
    int columns = part == "a" ? k : n;
    const string &registers = i.operands[load ? 0 : 1];
    Words parts = listed(registers.substr(1, registers.size() - 2));
    // Every row or column of a fragment begins at a multiple of 16 bytes, those of sums of 32.
    string lines = part == "a" || part == "b" ? "16" : "32";
    out << "{ u64 a_ = at(T, " << address(i.operands[load ? 1 : 0]) << ", " << lines << "), s_ = " << value(i.operands[2], "u32") << "; ";
    out << "at(T, a_ + 4 * s_, " << lines << "); ";
    for (size_t number = 0; number < parts.size(); number++) {
        out << "{ u64 e_ = T->lane * " << parts.size() << " + " << number << ", r_ = e_ / " << columns << ", c_ = e_ % " << columns << "; ";
        string place = string("a_ + 4 * (") + (row ? "r_ * s_ + c_" : "c_ * s_ + r_") + ")";
        if (load) out << identifier(parts[number]) << " = LOAD(u32, " << place << "); } ";
        else out << "STORE(u32, " << place << ", " << bits(parts[number]) << "); } ";
    }
    out << "} ";
}

void Translator::product(const Instruction &i) {
    if (!i.has("m16n16k8") || !i.has("tf32")) refuse(i.text);
    const char *names = "dabc";
    out << "{ u32 a_[4], b_[4], c_[8], d_[8]; ";
    Words results;
    for (int operand = 0; operand < 4; operand++) {
        const string &registers = i.operands[operand];
        Words parts = listed(registers.substr(1, registers.size() - 2));
        if (operand == 0) results = parts;
        else
            for (size_t n = 0; n < parts.size(); n++) out << names[operand] << "_[" << n << "] = " << bits(parts[n]) << "; ";
    }
    out << "struct Product s_ = {a_, b_, c_, d_}; TOGETHER(" << PRODUCT << ", " << site() << ", &s_); ";
    for (size_t n = 0; n < results.size(); n++) out << identifier(results[n]) << " = d_[" << n << "]; ";
    out << "} ";
}
