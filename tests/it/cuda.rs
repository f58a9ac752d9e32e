//! CUDA without a card: the tests of GPU code run again with kernels for NVIDIA's GPUs, which a stand-in for the driver runs on the
//! CPU (tests/cuda/README.md).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::export::interpreter;

/// Tests of `gpu` that need no study, or one of a single method.
const SHORT: [&str; 8] = [
    "gpu::normals",
    "gpu::dropout",
    "gpu::products",
    "gpu::the_gradient_of_one_output",
    "gpu::neighbours",
    "gpu::coresets",
    "gpu::a_device_that_computes_something_else",
    "gpu::a_device_is_chosen",
];

/// The folder of the stand-in, built from its sources.
fn stand_in() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda");
    let files = std::fs::read_dir(&sources).expect("a folder").flatten().map(|entry| entry.path());
    let (folder, own) = (Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda"), tempfile::tempdir().expect("a folder"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut compiler = Command::new("c++");
    compiler.args(["-O2", "-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]);
    compiler.arg(format!("-DSTANDIN_PRELUDE=\"{}\"", sources.join("prelude.h").display()));
    compiler.args(files.filter(|path| path.extension().is_some_and(|end| end == "cpp")));
    let made = own.path().join("libcuda.so");
    let out = compiler.arg("-o").arg(&made).args(["-ldl", "-lpthread"]).output().expect("a C++ compiler");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // Under its name only when it is whole: the other test may load it at this moment.
    let whole = folder.join(format!("libcuda.{}", own.path().file_name().expect("a name").to_string_lossy()));
    std::fs::copy(made, &whole).expect("copied");
    std::fs::rename(whole, folder.join("libcuda.so")).expect("renamed");
    folder
}

/// Runs tests of this program on the stand-in's first device, or another that `settings` name; how many have passed.
fn passes(tests: &[&str], settings: &[(&str, &str)]) -> usize {
    let find = "import nvidia.cuda_nvcc as toolkit; print(list(toolkit.__path__)[0])";
    let found = interpreter().args(["-c", find]).output().expect("Python starts");
    let toolkit = PathBuf::from(String::from_utf8(found.stdout).expect("UTF-8").trim());
    let folder = stand_in();
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(tests).args(["--test-threads", "2"]).env("DMAD_TEST_DEVICE", "cuda");
    let before = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    again.env("LD_LIBRARY_PATH", format!("{}:{before}", folder.display())).env("STANDIN_CACHE", folder.join("kernels"));
    again.env("CUDA_PATH", &toolkit).env("STANDIN_PTXAS", toolkit.join("bin/ptxas"));
    let out = again.envs(settings.iter().copied()).output().expect("this program starts");
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{told}{}", String::from_utf8_lossy(&out.stderr));
    let result = told.lines().find_map(|line| line.strip_prefix("test result: ok. ")).expect("a result");
    result.split(' ').next().and_then(|count| count.parse().ok()).expect("a number")
}

#[test]
#[cfg_attr(not(dmad_libdevice), ignore = "needs Python with nvidia-cuda-nvcc-cu12 in target/trackers, or DMAD_PYTHON")]
fn gpu_tests_pass_with_kernels_for_nvidia() {
    assert!(passes(&["gpu::", "on_a_gpu", "one_device_serves_another", "reference_on_a_device"], &[]) >= 19);
}

#[test]
#[cfg_attr(not(dmad_libdevice), ignore = "needs Python with nvidia-cuda-nvcc-cu12 in target/trackers, or DMAD_PYTHON")]
fn nothing_exact_rests_on_the_order_of_threads() {
    let second = [("DMAD_TEST_DEVICE", "cuda:1"), ("STANDIN_DEVICES", "2")];
    let other = [("STANDIN_ORDER", "reverse"), ("STANDIN_CAPABILITY", "120")];
    let settings = [&second[..], &other].concat();
    assert_eq!(passes(&SHORT, &settings), SHORT.len());
}
