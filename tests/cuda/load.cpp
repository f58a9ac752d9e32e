// From PTX to code that runs: translated, compiled by the C compiler of the system, kept by what it was made of.

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "translator.hpp"

using std::string;

string cache_folder() {
    string folder = setting("STANDIN_CACHE", "/tmp/cuda-standin");
    mkdir(folder.c_str(), 0700);
    return folder;
}

static string digest(const string &text) {
    uint64_t hash = 1469598103934665603ull;
    for (unsigned char c : text) hash = (hash ^ c) * 1099511628211ull;
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
    return digits;
}

static string contents(const string &path) {
    FILE *file = fopen(path.c_str(), "r");
    if (!file) throw Refused("cannot read " + path);
    string text;
    for (int c; (c = fgetc(file)) != EOF;) text += (char)c;
    fclose(file);
    return text;
}

static void save(const string &path, const string &text) {
    FILE *file = fopen(path.c_str(), "w");
    if (!file || fwrite(text.data(), 1, text.size(), file) != text.size() || fclose(file) != 0) throw Refused("cannot write " + path);
}

// For the shell.
static string quoted(const string &path) { return "'" + path + "'"; }

// NVIDIA's assembler, where there is one, has to take the PTX as well.
static void assemble(const string &ptx, const string &own, const string &base) {
    string assembler = setting("STANDIN_PTXAS", "");
    if (assembler.empty()) return;
    string target = "sm_" + std::to_string(capability()) + (capability() >= 90 ? "a" : "");
    save(own + ".ptx", ptx);
    string command = quoted(assembler) + " -arch=" + target + " -o /dev/null " + quoted(own + ".ptx") + " > " + quoted(own + ".ptxas") + " 2>&1";
    if (system(command.c_str()) != 0) throw Refused("the assembler refuses " + own + ".ptx, see " + own + ".ptxas");
    unlink((own + ".ptxas").c_str());
    rename((own + ".ptx").c_str(), (base + ".ptx").c_str());
}

// Integers wrap around, as registers do. Only what PTX fuses by name is fused, where NVIDIA's assembler may fuse more.
static const char *COMPILER = "cc -w -O1 -fwrapv -fno-strict-aliasing -ffp-contract=off -mfma -mf16c -mavx2 -fPIC -shared";

static void compile(const string &code, const string &own, const string &base) {
    save(own + ".c", code);
    string command = string(COMPILER) + " -o " + quoted(own + ".so") + " " + quoted(own + ".c") + " -lm 2> " + quoted(own + ".log");
    if (system(command.c_str()) != 0) throw Refused("the C compiler refuses " + own + ".c, see " + own + ".log");
    unlink((own + ".log").c_str());
    rename((own + ".c").c_str(), (base + ".c").c_str());
    rename((own + ".so").c_str(), (base + ".so").c_str());
}

std::map<string, Kernel *> load(const char *ptx) {
    Translation made = translate(ptx);
    string code = contents(STANDIN_PRELUDE) + made.code;
    string base = cache_folder() + "/" + digest(code + ptx + COMPILER + setting("STANDIN_PTXAS", ""));
    struct stat there;
    if (stat((base + ".so").c_str(), &there) != 0) {
        // A name of one's own until all is there: other processes look into the same folder.
        string own = base + "." + std::to_string(getpid());
        assemble(ptx, own, base);
        compile(code, own, base);
    }
    void *library = dlopen((base + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) throw Refused(dlerror());
    std::map<string, Kernel *> kernels;
    for (Kernel *kernel : made.kernels) {
        kernel->source = base + ".c";
        kernel->run = (void (*)(Thread *, uint8_t *))dlsym(library, identifier(kernel->name).c_str());
        kernels[kernel->name] = kernel;
    }
    return kernels;
}
