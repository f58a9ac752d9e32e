// What instructions of one thread do.

#include <set>

#include "translator.hpp"

using std::string;
using std::to_string;

void Translator::instruction(string text) {
    string guard;
    if (text[0] == '@') {
        size_t space = text.find_first_of(" \t\n");
        guard = text.substr(1, space - 1);
        text = trimmed(text.substr(space));
    }
    Instruction i;
    i.text = text;
    size_t space = text.find_first_of(" \t\r\n");
    std::stringstream opcode(text.substr(0, space));
    string word;
    while (std::getline(opcode, word, '.')) i.words.push_back(word);
    if (space != string::npos) i.operands = listed(text.substr(space));
    i.operation = i.words[0];
    i.type = i.words.back();
    if (!guard.empty()) out << "if (" << value(guard, "pred") << ") { ";
    emit(i);
    if (!guard.empty()) out << "}\n";
}

// What may stand in an opcode beside its types. Anything else could mean something that would be lost.
static bool known(const Instruction &i) {
    static const std::set<string> everywhere = {"rn", "lo", "hi", "wide", "approx", "sync", "aligned", "uni", "to", "global", "shared", "local", "param", "const"};
    static const std::map<string, std::set<string>> own = {
        {"ld", {"v2", "v4", "v8", "nc"}},
        {"st", {"v2", "v4", "v8"}},
        {"atom", {"relaxed", "acq_rel", "gpu", "sys", "cta", "add", "and", "or", "xor", "exch", "cas", "min", "max"}},
        {"red", {"relaxed", "gpu", "sys", "cta", "add", "and", "or", "xor", "min", "max"}},
        {"fma", {"rm"}},
        {"cvt", {"rna", "rni", "rzi", "rmi", "rpi", "sat", "ftz"}},
        {"min", {"NaN"}},
        {"max", {"NaN"}},
        {"ex2", {"ftz"}},
        {"lg2", {"ftz"}},
        {"rcp", {"ftz"}},
        {"rsqrt", {"ftz"}},
        {"sqrt", {"ftz"}},
        {"setp", {"eq", "ne", "lt", "le", "gt", "ge", "ls", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan", "and", "or", "xor"}},
        {"shf", {"l", "r", "wrap", "clamp"}},
        {"bar", {"warp"}},
        {"barrier", {"cta"}},
        {"shfl", {"idx", "up", "down", "bfly"}},
        {"vote", {"all", "any", "ballot"}},
        {"fence", {"sc", "acq_rel", "gpu", "sys", "cta"}},
        {"membar", {"gl", "sys", "cta"}},
        {"wmma", {"load", "store", "mma", "a", "b", "d", "c", "row", "col", "m16n16k8"}},
        {"brx", {"idx"}},
    };
    auto here = own.find(i.operation);
    for (size_t n = 1; n < i.words.size(); n++) {
        const string &word = i.words[n];
        bool is = is_type(word) || word == "f32x2" || everywhere.count(word) || (here != own.end() && here->second.count(word));
        // Hints about caches.
        if (!is && word.find("L1::") != 0 && word.find("L2::") != 0) return false;
    }
    return true;
}

void Translator::emit(const Instruction &i) {
    bool understood = known(i) && (memory(i) || arithmetic(i) || bit_operation(i) || flow(i) || together(i));
    if (!understood) refuse(i.text);
}

static Words elements(const string &operand) {
    return operand[0] == '{' ? listed(operand.substr(1, operand.size() - 2)) : Words{operand};
}

bool Translator::memory(const Instruction &i) {
    if (i.operation == "ld" || i.operation == "st") load_or_store(i);
    else if (i.operation == "atom" || i.operation == "red") atomic(i);
    else if (i.operation == "cvta") out << identifier(i.operands[0]) << " = " << bits(i.operands[1]) << ";\n";
    else if (i.operation != "mov") return false;
    else if (i.operands[0][0] == '{' || i.operands[1][0] == '{') pack(i);
    else if (i.type == "pred") write(i.operands[0], "pred", value(i.operands[1], "pred"));
    else out << identifier(i.operands[0]) << " = " << bits(i.operands[1]) << ";\n";
    return true;
}

void Translator::load_or_store(const Instruction &i) {
    bool load = i.operation == "ld";
    Words parts = elements(i.operands[load ? 0 : 1]);
    int bytes = bits_of(i.type) / 8;
    string raw = "u" + to_string(8 * bytes), extended = (i.type[0] == 's' ? "s" : "u") + to_string(8 * bytes);
    out << "{ u64 a_ = at(T, " << address(i.operands[load ? 1 : 0]) << ", " << bytes * parts.size() << "); ";
    // All is read before a register that the address is in may change.
    for (size_t n = 0; n < parts.size(); n++) {
        string place = "a_ + " + to_string(n * bytes);
        if (load) out << extended << " v" << n << "_ = LOAD(" << raw << ", " << place << "); ";
        else out << "STORE(" << raw << ", " << place << ", " << bits(parts[n]) << "); ";
    }
    for (size_t n = 0; load && n < parts.size(); n++)
        if (parts[n] != "_") out << identifier(parts[n]) << " = v" << n << "_; ";
    out << "}\n";
}

// Several registers in a wider one, or apart again.
void Translator::pack(const Instruction &i) {
    bool apart = i.operands[0][0] == '{';
    Words parts = elements(i.operands[apart ? 0 : 1]);
    int width = bits_of(i.type) / parts.size();
    string part = "(u" + to_string(width) + ")";
    out << "{ u128 v_ = " << (apart ? bits(i.operands[1]) : "0") << "; ";
    for (size_t n = 0; n < parts.size(); n++) {
        if (!apart) out << "v_ |= (u128)" << part << bits(parts[n]) << " << " << n * width << "; ";
        else if (parts[n] != "_") out << identifier(parts[n]) << " = " << part << "(v_ >> " << n * width << "); ";
    }
    if (!apart) out << identifier(i.operands[0]) << " = v_; ";
    out << "}\n";
}

void Translator::atomic(const Instruction &i) {
    size_t first = i.operation == "red" ? 0 : 1;
    string other = i.operands[first + 1], unsigned_type = "u" + to_string(bits_of(i.type)), fresh;
    bool real = i.type == "f32" || i.type == "f64";
    if (i.is_float() && !real) refuse(i.text);
    string type = i.type[0] == 'b' ? unsigned_type : i.type;
    string old = real ? "as_" + type + "(o_)" : "(" + type + ")o_", by = value(other, type);
    auto back = [&](const string &e) { return real ? type + "_bits(" + e + ")" : "(" + unsigned_type + ")(" + e + ")"; };
    if (i.has("add")) fresh = back(old + " + " + by);
    else if (i.has("and") || i.has("or") || i.has("xor")) fresh = "o_ " + string(i.has("and") ? "&" : i.has("or") ? "|" : "^") + " " + by;
    else if (i.has("exch")) fresh = bits(other);
    else if (i.has("cas")) fresh = "o_ == " + by + " ? " + value(i.operands[first + 2], type) + " : o_";
    else if (i.has("min") || i.has("max")) fresh = back(old + (i.has("min") ? " < " : " > ") + by + " ? " + old + " : " + by);
    else refuse(i.text);
    out << "{ " << unsigned_type << " *p_ = (" << unsigned_type << " *)at(T, " << address(i.operands[first]) << ", " << bits_of(i.type) / 8
        << "), o_ = __atomic_load_n(p_, 5), n_; do n_ = " << fresh << "; while (!__atomic_compare_exchange_n(p_, &o_, n_, 0, 5, 5)); ";
    if (first == 1 && i.operands[0] != "_") out << identifier(i.operands[0]) << " = o_; ";
    out << "}\n";
}

bool Translator::arithmetic(const Instruction &i) {
    static const std::map<string, string> signs = {{"add", "+"}, {"sub", "-"}, {"div", "/"}, {"rem", "%"}};
    static const std::map<string, string> functions = {{"ex2", "exp2"}, {"lg2", "log2"}, {"sin", "sin"}, {"cos", "cos"}, {"tanh", "tanh"}};
    const Words &o = i.operands;
    const string &operation = i.operation, &type = i.type;
    auto is = [&](size_t n) {
        string v = value(o[n], type);
        return i.has("ftz") ? "flushed(" + v + ")" : v;
    };
    auto put = [&](const string &e) { write(o[0], type, i.has("ftz") ? "flushed(" + e + ")" : e); };
    if (type == "f32x2") return pair(i);
    // Halves are known where they are converted, and alone where nothing rounds.
    bool halves = type == "f16x2" || type == "bf16x2";
    if (!is_type(type) || (halves && operation != "cvt") || (i.has("ftz") && type != "f32") || (i.has("rm") && type != "f32")) return false;
    if (operation == "cvt") convert(i);
    else if (operation == "mul" || operation == "mad") multiply(i);
    else if (operation == "fma" && (type == "f32" || type == "f64"))
        put(string(i.has("rm") ? "fma_down" : type == "f32" ? "fmaf" : "fma") + "(" + is(1) + ", " + is(2) + ", " + is(3) + ")");
    else if (signs.count(operation) && bits_of(type) > 16) {
        bool divides = !i.is_float() && (operation == "div" || operation == "rem");
        // What no number is defined for does not stop a GPU.
        if (divides) out << "if (" << value(o[2], type) << " == 0) " << identifier(o[0]) << " = " << (operation == "div" ? "-1" : bits(o[1])) << "; else ";
        if (divides && type[0] == 's')
            out << "if (" << value(o[2], type) << " == -1) " << identifier(o[0]) << " = " << (operation == "div" ? "-" + bits(o[1]) : "0") << "; else ";
        put(is(1) + " " + signs.at(operation) + " " + is(2));
    } else if (signs.count(operation) && !i.is_float()) put(is(1) + " " + signs.at(operation) + " " + is(2));
    else if ((operation == "min" || operation == "max") && o.size() == 3) {
        string name = operation == "min" ? "least_" : "most_";
        if (type == "f32" || type == "f64") put(name + (i.has("NaN") ? "nan_" : "") + type + "(" + is(1) + ", " + is(2) + ")");
        else if (i.is_float()) return false;
        else put(is(1) + (operation == "min" ? " < " : " > ") + is(2) + " ? " + is(1) + " : " + is(2));
    } else if (operation == "abs") {
        if (i.is_float()) put(string(type == "f64" ? "__builtin_fabs(" : "__builtin_fabsf(") + is(1) + ")");
        else put(is(1) + " < 0 ? -" + is(1) + " : " + is(1));
    } else if (operation == "neg") put("-" + is(1));
    else if (operation == "copysign") put(string(type == "f64" ? "__builtin_copysign(" : "__builtin_copysignf(") + is(2) + ", " + is(1) + ")");
    // Rougher on a GPU; what is proven or checked does not rest on their last bits.
    else if (functions.count(operation) && type == "f32") put(functions.at(operation) + "f(" + is(1) + ")");
    else if (operation == "rcp") put("1 / " + is(1));
    else if (operation == "sqrt") put(string(type == "f64" ? "sqrt(" : "sqrtf(") + is(1) + ")");
    else if (operation == "rsqrt") put("(" + type + ")(1 / sqrt((f64)" + is(1) + "))");
    else return false;
    return true;
}

// Two floats in one register, from capability 10.0 on.
bool Translator::pair(const Instruction &i) {
    static const std::map<string, string> signs = {{"add", "+"}, {"sub", "-"}, {"mul", "*"}};
    if (i.has("rm") || (i.operation != "fma" && !signs.count(i.operation))) return false;
    out << "{ u64 v_ = 0; ";
    for (int half = 0; half < 2; half++) {
        string shift = to_string(32 * half);
        auto part = [&](size_t n) { return "as_f32((u32)((u64)" + bits(i.operands[n]) + " >> " + shift + "))"; };
        string e = i.operation == "fma" ? "fmaf(" + part(1) + ", " + part(2) + ", " + part(3) + ")" : part(1) + " " + signs.at(i.operation) + " " + part(2);
        out << "v_ |= (u64)f32_bits(" << e << ") << " << shift << "; ";
    }
    out << identifier(i.operands[0]) << " = v_; }\n";
    return true;
}

void Translator::convert(const Instruction &i) {
    string to = i.words[i.words.size() - 2], from = i.type;
    const Words &o = i.operands;
    bool to_float = to[0] == 'f' || to == "bf16", from_float = i.is_float();
    if (i.has("sat") && to != "f32") refuse(i.text);
    if (to == "tf32") return i.has("rna") ? write(o[0], "f32", "rounded_tf32(" + value(o[1], "f32") + ")") : refuse(i.text);
    if (to == "f16x2" || to == "bf16x2") {
        string half = to == "f16x2" ? "f16_bits((f16)" : "bf16_bits(";
        return write(o[0], "b32", "(u32)" + half + value(o[1], "f32") + ") << 16 | " + half + value(o[2], "f32") + ")");
    }
    string v = value(o[1], from);
    if (from == "f32" && i.has("ftz")) v = "flushed(" + v + ")";
    for (auto &way : {std::pair<const char *, const char *>{"rni", "rint"}, {"rzi", "trunc"}, {"rmi", "floor"}, {"rpi", "ceil"}})
        if (i.has(way.first)) v = string(way.second) + "(" + v + ")";
    if (from_float && !to_float) {
        int width = bits_of(to);
        // What stands for no number.
        bool none = width == 64 || from == "f64";
        if (to[0] == 's') {
            string high = width == 64 ? "0x7fffffffffffffffll" : to_string((1ll << (width - 1)) - 1) + "ll";
            return write(o[0], to, "to_signed(" + v + ", -" + high + " - 1, " + high + ", " + (none ? "-" + high + " - 1" : "0") + ")");
        }
        string high = width == 64 ? "0xffffffffffffffffull" : to_string((1ull << width) - 1) + "ull";
        return write(o[0], to, "to_unsigned(" + v + ", " + high + ", " + (none ? "1ull << " + to_string(width - 1) : "0") + ")");
    }
    if (i.has("sat")) v = "saturated(" + v + ")";
    write(o[0], to, to_float && to != "bf16" ? "(" + to + ")" + v : v);
}

void Translator::multiply(const Instruction &i) {
    const Words &o = i.operands;
    bool adds = i.operation == "mad";
    if (i.is_float()) {
        if (adds || bits_of(i.type) < 32) refuse(i.text);
        string e = value(o[1], i.type) + " * " + value(o[2], i.type);
        return write(o[0], i.type, e);
    }
    int width = bits_of(i.type);
    string sign(1, i.type[0] == 's' ? 's' : 'u');
    string wide = width == 64 ? (sign == "s" ? "__int128" : "u128") : sign + to_string(2 * width);
    string all = "(" + wide + ")" + value(o[1], i.type) + " * (" + wide + ")" + value(o[2], i.type);
    if (i.has("wide")) return write(o[0], wide, adds ? all + " + " + value(o[3], wide) : all);
    if (i.has("hi")) all = "(" + all + " >> " + to_string(width) + ")";
    else {
        // Without a sign nothing overflows.
        string plain = "u" + to_string(width);
        all = (width == 16 ? "(u32)" : "") + value(o[1], plain) + " * " + value(o[2], plain);
    }
    write(o[0], i.type, adds ? all + " + " + value(o[3], "u" + to_string(width)) : all);
}

void Translator::compare(const Instruction &i) {
    static const std::map<string, string> signs = {{"eq", "=="}, {"ne", "!="}, {"lt", "<"}, {"le", "<="},
                                                   {"gt", ">"},  {"ge", ">="}, {"lo", "<"}, {"ls", "<="}, {"hi", ">"}, {"hs", ">="}};
    const Words &o = i.operands;
    if (i.type == "f16x2" || i.type == "bf16x2") refuse(i.text);
    string x = value(o[1], i.type), y = value(o[2], i.type), how = i.words[1];
    string neither = x + " == " + x + " && " + y + " == " + y, holds;
    bool also = i.is_float() && how.size() == 3 && how[2] == 'u';
    if (also) how = how.substr(0, 2);
    if (how == "num") holds = neither;
    else if (how == "nan") holds = "!(" + neither + ")";
    else if (!signs.count(how)) refuse(i.text);
    else holds = x + " " + signs.at(how) + " " + y;
    if (also) holds = holds + " || !(" + neither + ")";
    else if (i.is_float() && how == "ne") holds = holds + " && " + neither;
    size_t bar = o[0].find('|');
    string with = i.has("and") ? "&" : i.has("or") ? "|" : i.has("xor") ? "^" : "";
    out << "{ int c_ = " << holds << ", t_ = " << (with.empty() ? "0" : value(o[3], "pred")) << "; ";
    string first = trimmed(o[0].substr(0, bar)), second = bar == string::npos ? "_" : trimmed(o[0].substr(bar + 1));
    if (with.empty()) with = "|";
    if (first != "_") out << identifier(first) << " = c_ " << with << " t_; ";
    if (second != "_") out << identifier(second) << " = !c_ " << with << " t_; ";
    out << "}\n";
}

bool Translator::bit_operation(const Instruction &i) {
    static const std::map<string, string> signs = {{"and", "&"}, {"or", "|"}, {"xor", "^"}};
    const Words &o = i.operands;
    const string &operation = i.operation, &type = i.type;
    if (operation == "setp") {
        compare(i);
        return true;
    }
    if (!is_type(type)) return false;
    int width = bits_of(type);
    string wide = width == 64 ? "ll" : "";
    auto is = [&](size_t n) { return value(o[n], n == 1 ? type : "u32"); };
    auto put = [&](const string &e) { write(o[0], type, e); };
    if (signs.count(operation)) put(value(o[1], type) + " " + signs.at(operation) + " " + value(o[2], type));
    else if (operation == "not") put((type == "pred" ? "!" : "~") + value(o[1], type));
    else if (operation == "selp") put(value(o[3], "pred") + " ? " + value(o[1], type) + " : " + value(o[2], type));
    else if (operation == "shl") put("shl" + to_string(width) + "(" + is(1) + ", " + is(2) + ")");
    else if (operation == "shr") put(string(type[0] == 's' ? "shr_s" : "shr_u") + to_string(width) + "(" + is(1) + ", " + is(2) + ")");
    else if (operation == "shf")
        put("funnel(" + is(1) + ", " + is(2) + ", " + is(3) + ", " + (i.has("l") ? "1" : "0") + ", " + (i.has("wrap") ? "1" : "0") + ")");
    else if (operation == "prmt") put("bytes_of(" + is(1) + ", " + is(2) + ", " + is(3) + ")");
    else if (operation == "bfe" && type == "s32") put("signed_field(" + is(1) + ", " + is(2) + ", " + is(3) + ")");
    else if (operation == "bfe" && type[0] == 'u') put("field(" + is(1) + ", " + is(2) + ", " + is(3) + ", " + to_string(width) + ")");
    else if (operation == "bfi" && type == "b32") put("with_field(" + is(1) + ", " + is(2) + ", " + is(3) + ", " + is(4) + ")");
    else if (operation == "brev" && type == "b32") put("turned_around(" + is(1) + ")");
    else if (operation == "popc") write(o[0], "u32", "__builtin_popcount" + wide + "(" + is(1) + ")");
    else if (operation == "clz") write(o[0], "u32", is(1) + " == 0 ? " + to_string(width) + " : __builtin_clz" + wide + "(" + is(1) + ")");
    else if (operation == "lop3") put("by_table(" + is(1) + ", " + is(2) + ", " + is(3) + ", " + o[4] + ")");
    else return false;
    return true;
}

bool Translator::flow(const Instruction &i) {
    if (i.operation == "bra") out << "goto " << identifier(i.operands[0]) << ";\n";
    else if (i.operation == "ret" || i.operation == "exit") out << "return;\n";
    else if (i.operation == "trap") out << "T->fault(T, \"trap\", 0);\n";
    else if (i.operation == "membar" || i.operation == "fence") out << "__atomic_thread_fence(5);\n";
    else if (i.operation == "brx" && tables.count(i.operands[1])) {
        const Words &targets = tables[i.operands[1]];
        out << "switch (" << value(i.operands[0], "u32") << ") { ";
        for (size_t n = 0; n < targets.size(); n++) out << "case " << n << ": goto " << identifier(targets[n]) << "; ";
        out << "default: __builtin_unreachable(); }\n";
    } else return false;
    return true;
}
