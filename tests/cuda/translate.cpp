// PTX as a text: modules, kernels, declarations, operands. What instructions do is in instructions.cpp and together.cpp.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>

#include "translator.hpp"

using std::string;

string trimmed(const string &text) {
    size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
    return first == string::npos ? "" : text.substr(first, last - first + 1);
}

Words listed(const string &text) {
    Words out;
    string word;
    int depth = 0;
    for (char c : text) {
        if (c == '{' || c == '[' || c == '(') depth++;
        if (c == '}' || c == ']' || c == ')') depth--;
        if (c == ',' && depth == 0) {
            out.push_back(trimmed(word));
            word.clear();
        } else word += c;
    }
    if (!trimmed(word).empty()) out.push_back(trimmed(word));
    return out;
}

string identifier(const string &name) {
    string out;
    for (char c : name) out += c == '%' ? "r_" : c == '$' ? "l_" : isalnum((unsigned char)c) ? string(1, c) : "_";
    return out;
}

bool is_type(const string &word) {
    static const std::set<string> types = {"pred", "b8",  "b16", "b32", "b64",   "b128", "u8",     "u16", "u32", "u64", "s8",
                                           "s16",  "s32", "s64", "f16", "f16x2", "bf16", "bf16x2", "f32", "f64", "tf32"};
    return types.count(word) > 0;
}

int bits_of(const string &type) {
    if (type == "pred") return 1;
    if (type == "f16x2" || type == "bf16x2" || type == "tf32") return 32;
    return atoi(type.c_str() + type.find_first_of("0123456789"));
}

Declared declared(const string &text) {
    Declared out;
    size_t equals = text.find('=');
    if (equals != string::npos) out.values = trimmed(text.substr(equals + 1));
    std::stringstream words(text.substr(0, equals));
    string word;
    while (words >> word) {
        if (word == ".align") words >> out.align;
        else if (word[0] == '.') {
            if (is_type(word.substr(1))) out.element = word.substr(1);
        } else {
            size_t bracket = word.find('[');
            out.name = word.substr(0, bracket);
            if (bracket != string::npos) out.count = strtoull(word.c_str() + bracket + 1, nullptr, 10);
        }
    }
    return out;
}

bool Instruction::has(const char *word) const { return std::find(words.begin(), words.end(), word) != words.end(); }

void Translator::refuse(const string &what) const { throw Refused("kernel " + kernel->name + ", not understood: " + what); }

int Translator::site() {
    kernel->collective = true;
    return ++sites;
}

string Translator::bits(const string &operand) const {
    static const std::map<string, string> special = {
        {"%tid.x", "T->tid[0]"},       {"%tid.y", "T->tid[1]"},       {"%tid.z", "T->tid[2]"},     {"%ntid.x", "T->ntid[0]"},
        {"%ntid.y", "T->ntid[1]"},     {"%ntid.z", "T->ntid[2]"},     {"%ctaid.x", "T->ctaid[0]"}, {"%ctaid.y", "T->ctaid[1]"},
        {"%ctaid.z", "T->ctaid[2]"},   {"%nctaid.x", "T->nctaid[0]"}, {"%laneid", "T->lane"},      {"%nctaid.y", "T->nctaid[1]"},
        {"%nctaid.z", "T->nctaid[2]"}, {"%warpid", "T->warp"},        {"%WARP_SZ", "32u"}};
    if (operand[0] == '%') {
        auto known = special.find(operand);
        if (known != special.end()) return known->second;
        if (registers.count(operand)) return identifier(operand);
        refuse("register " + operand);
    }
    if (operand[0] == '-' || isdigit((unsigned char)operand[0])) {
        string digits = operand.substr(0, operand.find('U'));
        if (digits.find("0f") == 0 || digits.find("0F") == 0) return "0x" + digits.substr(2) + "u";
        if (digits.find("0d") == 0 || digits.find("0D") == 0) return "0x" + digits.substr(2) + "ull";
        if (digits == "-9223372036854775808") return "0x8000000000000000ull";
        return digits[0] == '-' ? "(" + digits + "ll)" : digits + "ull";
    }
    auto symbol = symbols.find(operand);
    if (symbol != symbols.end()) return symbol->second;
    size_t plus = operand.find('+');
    if (plus == string::npos) refuse("operand " + operand);
    return "(" + bits(trimmed(operand.substr(0, plus))) + " + " + bits(trimmed(operand.substr(plus + 1))) + ")";
}

string Translator::value(const string &operand, const string &type) const {
    if (type == "pred") {
        if (operand[0] == '!') return "(!" + bits(operand.substr(1)) + ")";
        return "(" + bits(operand) + " != 0)";
    }
    string is = bits(operand);
    if (type == "f32") return "as_f32((u32)" + is + ")";
    if (type == "f64") return "as_f64(" + is + ")";
    if (type == "f16") return "as_f16((u16)" + is + ")";
    if (type == "bf16") return "as_bf16((u16)" + is + ")";
    return "((" + string(type[0] == 's' ? "s" : "u") + std::to_string(bits_of(type)) + ")" + is + ")";
}

string Translator::address(const string &operand) const {
    string inside = trimmed(operand.substr(1, operand.size() - 2));
    size_t plus = inside.find('+');
    string base = "(u64)" + bits(trimmed(inside.substr(0, plus)));
    return plus == string::npos ? "(" + base + ")" : "(" + base + " + (s64)" + trimmed(inside.substr(plus + 1)) + ")";
}

void Translator::write(const string &to, const string &type, const string &expression) {
    string name = identifier(to);
    if (to == "_") out << "(void)(" << expression << ");\n";
    else if (type == "pred") out << name << " = (" << expression << ") != 0;\n";
    else if (type == "f32" || type == "f64" || type == "f16" || type == "bf16")
        out << name << " = " << type << "_bits(" << expression << ");\n";
    // A register that is wider takes the sign with it.
    else out << name << " = (" << (type[0] == 's' ? "s" : "u") << bits_of(type) << ")(" << expression << ");\n";
}

void Translator::parameters(const string &header) {
    size_t open = header.find('('), close = header.rfind(')');
    size_t name = header.find(".entry") + 6;
    kernel->name = trimmed(header.substr(name, open - name));
    if (open != string::npos)
        for (const string &text : listed(header.substr(open + 1, close - open - 1))) {
            Declared parameter = declared(text);
            size_t &end = kernel->parameter_bytes;
            end = (end + 15) / 16 * 16;
            symbols[parameter.name] = "((u64)P + " + std::to_string(end) + ")";
            kernel->parameters.push_back({end, parameter.bytes()});
            end += parameter.bytes();
        }
    size_t required = header.find(".reqntid");
    if (required == string::npos) return;
    uint32_t *threads = kernel->required;
    threads[0] = threads[1] = threads[2] = 1;
    sscanf(header.c_str() + required, ".reqntid %u, %u, %u", &threads[0], &threads[1], &threads[2]);
}

void Translator::declaration(const string &text) {
    if (text.find(".reg") == 0) {
        std::stringstream words(text.substr(4));
        string type, names;
        words >> type;
        std::getline(words, names);
        type = type == ".pred" ? "int" : "u" + std::to_string(bits_of(type.substr(1)));
        auto declare = [&](const string &name) {
            registers[name] = true;
            declarations << type << " " << identifier(name) << " = 0;\n";
        };
        for (const string &name : listed(names)) {
            size_t many = name.find('<');
            if (many == string::npos) declare(name);
            else
                for (int number = 0; number < atoi(name.c_str() + many + 1); number++)
                    declare(name.substr(0, many) + std::to_string(number));
        }
    } else if (text.find(".local") == 0) {
        Declared memory = declared(text);
        // A thread has a stack of 64 kB.
        if (memory.bytes() > 32 * 1024) refuse(text);
        string name = identifier(memory.name) + "_";
        declarations << "u8 " << name << "[" << memory.bytes() << "] __attribute__((aligned(16)));\n";
        symbols[memory.name] = "((u64)" + name + ")";
    } else if (text.find(".shared") == 0) {
        Declared memory = declared(text);
        size_t &end = kernel->static_shared;
        end = (end + 15) / 16 * 16;
        symbols[memory.name] = "(T->shared + " + std::to_string(end) + ")";
        end += memory.bytes();
    } else if (text.find(".branchtargets") != 0 && text.find(".pragma") != 0) refuse(text);
}

void Translator::statement(const string &text) {
    if (text.back() == ':') {
        string name = text.substr(0, text.size() - 1);
        if (!tables.count(name)) out << identifier(name) << ":;\n";
    } else if (text[0] == '.') declaration(text);
    else instruction(text);
}

// Statements end with a semicolon, labels with a colon. Braces stand around operands; around statements they mean nothing here.
static Words statements(const string &body) {
    Words out;
    string text;
    int depth = 0;
    for (char c : body) {
        // Where a line of a source was: without a semicolon.
        if (c == '\n' && (trimmed(text).find(".loc") == 0 || trimmed(text).find(".file") == 0) && text.find(".local") == string::npos) text.clear();
        bool fresh = trimmed(text).empty();
        if (fresh && (c == '{' || c == '}')) continue;
        if (c == '{') depth++;
        if (c == '}') depth--;
        bool label = c == ':' && depth == 0 && trimmed(text).find_first_of(" \t.") == string::npos;
        if (label || (c == ';' && depth == 0)) {
            if (!fresh) out.push_back(trimmed(text) + (label ? ":" : ""));
            text.clear();
        } else text += c;
    }
    return out;
}

string Translator::function(const string &header, const string &body, Kernel &of) {
    kernel = &of;
    parameters(header);
    Words all = statements(body);
    // Tables of jumps may stand behind the jumps.
    for (size_t i = 1; i < all.size(); i++)
        if (all[i].find(".branchtargets") == 0)
            tables[all[i - 1].substr(0, all[i - 1].size() - 1)] = listed(all[i].substr(strlen(".branchtargets")));
    for (const string &text : all) statement(text);
    return "void " + identifier(of.name) + "(Thread *T, u8 *P) {\n" + declarations.str() + out.str() + "return;\n}\n";
}

static string without_comments(const string &ptx) {
    string out;
    for (size_t i = 0; i < ptx.size(); i++) {
        if (ptx.compare(i, 2, "//") == 0) {
            i = std::min(ptx.find('\n', i), ptx.size() - 1);
            out += '\n';
        } else if (ptx.compare(i, 2, "/*") == 0) i = ptx.find("*/", i) + 1;
        else out += ptx[i];
    }
    return out;
}

// A variable of the module: the block's dynamic shared memory, or a table of constants.
static void module_memory(const string &text, std::map<string, string> &symbols, std::stringstream &code) {
    Declared memory = declared(text);
    if (text.find(".extern") != string::npos && text.find(".shared") != string::npos) {
        symbols[memory.name] = "T->shared";
        return;
    }
    bool constant = text.find(".global") != string::npos || text.find(".const") != string::npos;
    if (!constant || memory.element[0] == 'f') throw Refused("not understood: " + text);
    string name = identifier(memory.name);
    code << "static u" << bits_of(memory.element) << " " << name << "[" << memory.count << "] __attribute__((aligned(16)))";
    if (!memory.values.empty()) code << " = " << (memory.values[0] == '{' ? memory.values : "{" + memory.values + "}");
    code << ";\n";
    symbols[memory.name] = "((u64)" + name + ")";
}

Translation translate(const string &raw) {
    string ptx = without_comments(raw), text;
    Translation made;
    std::stringstream code;
    std::map<string, string> symbols;
    for (size_t i = 0; i < ptx.size(); i++) {
        char c = ptx[i];
        string is = trimmed(text);
        bool about = is.find(".version") == 0 || is.find(".target") == 0 || is.find(".address_size") == 0;
        if (c == '\n' && about) text.clear();
        else if (c == ';') {
            module_memory(is, symbols, code);
            text.clear();
        } else if (c == '{' && (is.find(".entry") != string::npos || is.find(".func") != string::npos)) {
            size_t end = i + 1;
            for (int depth = 1; depth > 0; end++) depth += ptx[end] == '{' ? 1 : ptx[end] == '}' ? -1 : 0;
            // Functions are left from libdevice; they were inlined where they are called.
            if (is.find(".entry") != string::npos) {
                made.kernels.push_back(new Kernel);
                code << Translator(symbols).function(is, ptx.substr(i + 1, end - i - 2), *made.kernels.back());
            }
            text.clear();
            i = end - 1;
        } else text += c;
    }
    made.code = code.str();
    return made;
}
