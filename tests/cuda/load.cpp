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

// NVIDIA's assembler, where there is one, has to take the PTX as well.
static void assemble(const string &ptx, const string &base) {
    string assembler = setting("STANDIN_PTXAS", "");
    if (assembler.empty()) return;
    string target = "sm_" + std::to_string(capability()) + (capability() >= 90 ? "a" : "");
    save(base + ".ptx", ptx);
    string command = assembler + " -arch=" + target + " -o /dev/null " + base + ".ptx > " + base + ".ptxas 2>&1";
    if (system(command.c_str()) != 0) throw Refused("the assembler refuses " + base + ".ptx, see " + base + ".ptxas");
}

static void compile(const string &code, const string &base) {
    // A name of one's own until all is there: other processes look into the same folder.
    string own = base + "." + std::to_string(getpid());
    save(own + ".c", code);
    string flags = "-w -O1 -fno-strict-aliasing -mfma -mf16c -mavx2 -fPIC -shared -ffp-contract=";
    string command = string("cc ") + flags + (*setting("STANDIN_FUSE", "") ? "fast" : "off") + " -o " + own + ".so " + own + ".c -lm 2> " +
                     own + ".log";
    if (system(command.c_str()) != 0) throw Refused("the C compiler refuses " + own + ".c, see " + own + ".log");
    unlink((own + ".log").c_str());
    rename((own + ".c").c_str(), (base + ".c").c_str());
    rename((own + ".so").c_str(), (base + ".so").c_str());
}

std::map<string, Kernel *> load(const char *ptx) {
    Translation made = translate(ptx);
    string code = contents(STANDIN_PRELUDE) + made.code;
    string base = cache_folder() + "/" + digest(code + setting("STANDIN_FUSE", "") + setting("STANDIN_CAPABILITY", ""));
    struct stat there;
    if (stat((base + ".so").c_str(), &there) != 0) {
        assemble(ptx, base);
        compile(code, base);
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
