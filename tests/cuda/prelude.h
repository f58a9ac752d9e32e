/* What every translated kernel is compiled with: types and operations of PTX in C. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned __int128 u128;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Float16 f16;
typedef float f32;
typedef double f64;

/* The beginning of `Thread` in machine.hpp. */
typedef struct Thread {
    u32 tid[3], ntid[3], ctaid[3], nctaid[3];
    u32 lane, warp;
    u64 shared;
    void (*yield)(struct Thread *);
    void (*fault)(struct Thread *, const char *, u64);
    int site, kind;
    void *data;
} Thread;

/* What lanes hand over where they do something together; as in machine.hpp. */
struct Shuffle { u32 mask, mode, value, by, clamp, out, ok; };
struct Vote { u32 mask, mode, holds, out; };
struct Product { u32 *a, *b, *c, *d; };

#define I static inline __attribute__((always_inline))
#define TOGETHER(kind_, site_, data_) ({ T->kind = kind_; T->site = site_; T->data = data_; T->yield(T); })
#define LOAD(type, address) ({ type v_; __builtin_memcpy(&v_, (void *)(address), sizeof(type)); v_; })
#define STORE(type, address, value) ({ type v_ = (type)(value); __builtin_memcpy((void *)(address), &v_, sizeof(type)); })

f32 exp2f(f32), log2f(f32), sinf(f32), cosf(f32), tanhf(f32), sqrtf(f32), fmaf(f32, f32, f32), nextafterf(f32, f32);
f64 exp2(f64), sqrt(f64), fma(f64, f64, f64), rint(f64), floor(f64), ceil(f64), trunc(f64);

/* An address that is a multiple of what is read there, as the hardware wants it. */
I u64 at(Thread *T, u64 address, u64 bytes) {
    if (__builtin_expect(address % bytes != 0 || address < 4096, 0)) T->fault(T, "misaligned or null address", address);
    return address;
}

/* Registers hold bits. */
I f32 as_f32(u32 x) { f32 y; __builtin_memcpy(&y, &x, 4); return y; }
I u32 f32_bits(f32 x) { u32 y; __builtin_memcpy(&y, &x, 4); return y; }
I f64 as_f64(u64 x) { f64 y; __builtin_memcpy(&y, &x, 8); return y; }
I u64 f64_bits(f64 x) { u64 y; __builtin_memcpy(&y, &x, 8); return y; }
I f16 as_f16(u16 x) { f16 y; __builtin_memcpy(&y, &x, 2); return y; }
I u16 f16_bits(f16 x) { u16 y; __builtin_memcpy(&y, &x, 2); return y; }
I f32 as_bf16(u16 x) { return as_f32((u32)x << 16); }
I u16 bf16_bits(f32 x) {
    u32 bits = f32_bits(x);
    return x != x ? 0x7fff : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* a · b + c, towards minus infinity. A product of floats is exact as a double; what the sum loses is known as well. */
I f32 fma_down(f32 a, f32 b, f32 c) {
    f64 product = (f64)a * b, sum = product + c, of_c = sum - product, lost = (product - (sum - of_c)) + (c - of_c);
    f32 near = (f32)sum;
    int above = near > sum || (near == sum && lost < 0);
    return above && __builtin_isfinite(near) ? nextafterf(near, -__builtin_inff()) : near;
}

/* The number where one is none; -0 below 0. */
#define LEAST_AND_MOST(f, sign_of, none) \
    I f least_##f(f a, f b) { return a != a ? (b != b ? none : b) : b != b ? a : a == b ? (sign_of(a) ? a : b) : a < b ? a : b; } \
    I f most_##f(f a, f b) { return a != a ? (b != b ? none : b) : b != b ? a : a == b ? (sign_of(a) ? b : a) : a > b ? a : b; }
LEAST_AND_MOST(f32, __builtin_signbitf, as_f32(0x7fffffff))
LEAST_AND_MOST(f64, __builtin_signbit, as_f64(0x7fffffffffffffff))
I f32 least_nan_f32(f32 a, f32 b) { return a != a || b != b ? as_f32(0x7fffffff) : least_f32(a, b); }
I f32 most_nan_f32(f32 a, f32 b) { return a != a || b != b ? as_f32(0x7fffffff) : most_f32(a, b); }
I f32 saturated(f32 a) { return a != a || a < 0 ? 0.0f : a > 1 ? 1.0f : a; }
I f32 flushed(f32 x) { return __builtin_fabsf(x) < 1.17549435e-38f ? __builtin_copysignf(0.0f, x) : x; }
I f32 rounded_tf32(f32 x) {
    u32 bits = f32_bits(x);
    return (bits & 0x7f800000) == 0x7f800000 ? x : as_f32((bits + 0x1000) & 0xffffe000);
}
I s64 to_signed(f64 x, s64 low, s64 high, s64 none) { return x != x ? none : x <= (f64)low ? low : x >= (f64)high ? high : (s64)x; }
I u64 to_unsigned(f64 x, u64 high, u64 none) { return x != x ? none : x <= 0 ? 0 : x >= (f64)high ? high : (u64)x; }

/* Shifts by more than a register has are defined. */
I u16 shl16(u16 a, u32 n) { return n > 15 ? 0 : (u16)(a << n); }
I u32 shl32(u32 a, u32 n) { return n > 31 ? 0 : a << n; }
I u64 shl64(u64 a, u32 n) { return n > 63 ? 0 : a << n; }
I u16 shr_u16(u16 a, u32 n) { return n > 15 ? 0 : a >> n; }
I u32 shr_u32(u32 a, u32 n) { return n > 31 ? 0 : a >> n; }
I u64 shr_u64(u64 a, u32 n) { return n > 63 ? 0 : a >> n; }
I u16 shr_s16(s16 a, u32 n) { return (u16)(a >> (n > 15 ? 15 : n)); }
I u32 shr_s32(s32 a, u32 n) { return (u32)(a >> (n > 31 ? 31 : n)); }
I u64 shr_s64(s64 a, u32 n) { return (u64)(a >> (n > 63 ? 63 : n)); }
/* Both halves of 64 bits, shifted. */
I u32 funnel(u32 low, u32 high, u32 n, int left, int wraps) {
    n = wraps ? n & 31 : n > 32 ? 32 : n;
    u64 both = (u64)high << 32 | low;
    return left ? (u32)((n == 32 ? (u64)low << 32 : both << n) >> 32) : (u32)(both >> n);
}

/* Four bytes chosen of eight. */
I u32 bytes_of(u32 a, u32 b, u32 which) {
    u64 all = (u64)b << 32 | a;
    u32 out = 0;
    for (int i = 0; i < 4; i++) {
        u32 k = which >> (4 * i) & 15, byte = all >> (8 * (k & 7)) & 255;
        if (k & 8) byte = byte & 128 ? 255 : 0;
        out |= byte << (8 * i);
    }
    return out;
}
I u64 field(u64 a, u32 from, u32 count, u32 width) {
    from &= 255, count &= 255;
    if (count == 0 || from >= width) return 0;
    a >>= from;
    return count >= width ? a : a & ((1ull << count) - 1);
}
I u32 signed_field(u32 a, u32 from, u32 count) {
    from &= 255, count &= 255;
    if (count == 0) return 0;
    u32 top = from + count - 1 > 31 ? 31 : from + count - 1, sign = a >> top & 1, out = 0;
    for (u32 i = 0; i < 32; i++) out |= (i < count && from + i < 32 ? a >> (from + i) & 1 : sign) << i;
    return out;
}
I u32 with_field(u32 a, u32 b, u32 from, u32 count) {
    from &= 255, count &= 255;
    for (u32 i = 0; i < count && from + i < 32; i++) b = (b & ~(1u << (from + i))) | (a >> i & 1) << (from + i);
    return b;
}
I u32 turned_around(u32 a) {
    u32 out = 0;
    for (int i = 0; i < 32; i++) out |= (a >> i & 1) << (31 - i);
    return out;
}
I u32 by_table(u32 a, u32 b, u32 c, u32 table) {
    u32 out = 0;
    for (int i = 0; i < 8; i++)
        if (table >> i & 1) out |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return out;
}
