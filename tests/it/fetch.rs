//! `dmad data fetch`, `dmad data import` and `dmad weights fetch` against servers and archives of all sorts.

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::program::{Outcome, Sandbox};
use crate::server::{Server, send, serve};
use crate::util;

/// `cloth-1.0/linen/{0,1}.png` as .tar.xz.
const XZ: &str = "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Cf/AMBdADGbCkOtBRzQJLFnAfVPlt0Ld1XrJgaXOe5gS3Jc6COwOwnAHTJymURQTLzlckA9UjD8xsRxmdl6ZBaC6p/P+8rICOIljptYwGQTDkAz0Y7W00CjfuRZ8q4eVhR647G3SeUMl0xwRmckrUb6rNtQrRCcmDEoMECZmlo9XvyKtQBNPizX5O8qZZI04Paq+aJey6bq1z1BDXmEQI7wh7A0t7EBz1knF3dK/O8WmAu2NOr9IYxdlobySvES73FEdJRjAACmm88qcu9PXwAB3AGAUAAAsrksGrHEZ/sCAAAAAARZWg==";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sandbox whose catalog says that `far` can be had at `url`; its images lie in `data/parts` until they are packed.
fn sandbox(url: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let entry = "layout = \"mvtec\"\nroot = \"far\"\nclasses = [\"disc\", \"plate\"]\nlicence = \"for tests\"\ncite = \"Nobody\"";
    sandbox.write("datasets.toml", format!("[dataset.far]\n{entry}\nurl = \"{url}\"\n{more}\n"));
    sandbox
}

/// All files below `data/parts`, as they are called in an archive.
fn files(sandbox: &Sandbox, around: &str) -> Vec<(String, Vec<u8>)> {
    let (mut folders, mut found) = (vec![sandbox.path("data/parts")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let inside = entry.strip_prefix(sandbox.path("data/parts")).expect("inside").to_string_lossy().into_owned();
            found.push((format!("{around}{inside}"), std::fs::read(&entry).expect("a file")));
        }
    }
    found.sort();
    found
}

/// A header that says what it is told: the library's own way would refuse some of these names.
fn tar_entry(tar: &mut tar::Builder<impl Write>, name: &str, kind: tar::EntryType, link: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    tar.append(&header, bytes).expect("written");
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    files.iter().for_each(|(name, bytes)| tar_entry(&mut tar, name, tar::EntryType::Regular, "", bytes));
    tar.into_inner().expect("written")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("written");
    out.finish().expect("written")
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).expect("begun");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("written").into_inner()
}

/// The archive that most tests serve.
fn archive(sandbox: &Sandbox) -> Vec<u8> {
    gzip(&tar(&files(sandbox, "far-1.0/")))
}

/// Fetches `far` and finds it whole, with nothing else left.
fn fetches(sandbox: &Sandbox, more: &[&str]) -> Outcome {
    let fetched = sandbox.dmad(&[&["data", "fetch", "far", "--yes"], more].concat());
    fetched.says(0, &["licence: for tests", "source: Nobody"]);
    assert!(fetched.stdout.contains("far: ok; 2 classes"), "{}", fetched.stdout);
    assert_eq!(left(sandbox), ["cloth", "far", "parts"], "only what was asked for is left");
    fetched
}

/// What lies in the data folder.
fn left(sandbox: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path("data")).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_dataset_is_fetched_through_a_server_that_breaks_off_again_and_again() {
    let file = Arc::new(Mutex::new(Vec::new()));
    let served = file.clone();
    let server =
        Server::new(move |_, request, stream| serve(stream, request, &served.lock().expect("whole"), "\"one\"", 6_000));
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    *file.lock().expect("whole") = archive(&sandbox);
    let fetched = fetches(&sandbox, &[]);
    assert!(
        fetched.stderr.contains("trying again") && fetched.stderr.contains("no digest of this archive"),
        "{}",
        fetched.stderr
    );
    let seen = server.seen();
    assert!(seen.len() > 2, "{seen:?}");
    let (from, tags): (Vec<_>, Vec<_>) =
        seen[1..].iter().map(|request| (request.from, request.if_range.as_deref())).unzip();
    assert!(
        from.is_sorted() && from.iter().all(Option::is_some),
        "every try goes on where the last one ended: {from:?}"
    );
    assert!(tags.iter().all(|tag| *tag == Some("\"one\"")), "and wants the rest of the same file: {tags:?}");
    sandbox.dmad(&["data", "fetch", "far"]).says(0, &["far is here already"]);
}

#[test]
fn a_download_that_was_given_up_goes_on_with_the_next_command() {
    let file = Arc::new(Mutex::new((Vec::new(), 5_000)));
    let served = file.clone();
    let server = Server::new(move |number, request, stream| {
        let (file, most) = served.lock().expect("whole").clone();
        let most = if number == 0 || most > 5_000 { most } else { 0 };
        serve(stream, request, &file, "\"one\"", most)
    });
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    file.lock().expect("whole").0 = archive(&sandbox);
    let words = ["broke", "the same command goes on", "--from URL"];
    sandbox.dmad(&["data", "fetch", "far", "--yes"]).says(2, &words);
    assert!(left(&sandbox).contains(&"far.tar.gz.part".into()), "{:?}", left(&sandbox));
    file.lock().expect("whole").1 = usize::MAX;
    fetches(&sandbox, &[]);
    assert_eq!(server.seen().last().expect("a request").from, Some(5_000));
}

#[test]
fn a_file_that_has_changed_meanwhile_is_not_made_of_two_halves() {
    let file = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let served = file.clone();
    let server = Server::new(move |number, request, stream| {
        let (old, new) = served.lock().expect("whole").clone();
        match number {
            0 => serve(stream, request, &old, "\"old\"", 4_000),
            _ => serve(stream, request, &new, "\"new\"", usize::MAX),
        }
    });
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    *file.lock().expect("whole") = (vec![7; 9_000], archive(&sandbox));
    fetches(&sandbox, &[]);
    assert_eq!(server.seen()[1].if_range.as_deref(), Some("\"old\""));
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let file = Arc::new(Mutex::new(Vec::new()));
    let served = file.clone();
    let server = Server::new(move |number, _, stream| {
        let file = served.lock().expect("whole").clone();
        let sent = if number == 0 { &file[..3_000] } else { &file };
        let headers = [("Content-Length", file.len().to_string()), ("ETag", "\"one\"".into())];
        send(stream, "200 OK", &headers, sent)
    });
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    *file.lock().expect("whole") = archive(&sandbox);
    fetches(&sandbox, &[]);
    assert_eq!(server.seen()[1].from, Some(3_000));
}

#[test]
fn a_server_that_answers_with_another_range_is_read_from_the_start() {
    let file = Arc::new(Mutex::new(Vec::new()));
    let served = file.clone();
    let server = Server::new(move |number, request, stream| {
        let file = served.lock().expect("whole").clone();
        if number != 1 {
            return serve(stream, request, &file, "\"one\"", if number == 0 { 3_000 } else { usize::MAX });
        }
        let range = ("Content-Range", format!("bytes 10-{}/{}", file.len() - 1, file.len()));
        send(stream, "206 Partial Content", &[range, ("ETag", "\"one\"".into())], &file[10..])
    });
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    *file.lock().expect("whole") = archive(&sandbox);
    fetches(&sandbox, &[]).says(0, &["another part than was asked for"]);
    assert_eq!(server.seen().iter().map(|request| request.from).collect::<Vec<_>>(), [None, Some(3_000), None]);
}

#[test]
fn lengths_that_are_not_true_end_without_a_file() {
    // More than there is, less than there is, and more than any disk has.
    for (length, words) in [
        (9_000u64, vec!["after 5000 of 9000 bytes"]),
        (2_000, vec!["another file", "SHA-256"]),
        (1 << 60, vec!["GB are free there", "free some disk space"]),
    ] {
        let server = Server::new(move |_, _, stream| {
            send(stream, "200 OK", &[("Content-Length", length.to_string())], &[7; 5_000])
        });
        let digest = format!("sha256 = \"{}\"", sha256(&[7; 5_000]));
        let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), &digest);
        let fetched = sandbox.dmad(&["data", "fetch", "far", "--yes"]);
        if !words.iter().all(|word| fetched.stderr.contains(word)) {
            // What a client may take for a fault of the connection.
            assert!(length == 9_000 && fetched.stderr.contains("broke off"), "{length}: {}", fetched.stderr);
        }
        assert_eq!(fetched.code, 2);
        assert!(!sandbox.path("data/far.tar.gz").exists() && !sandbox.path("data/far").exists());
    }
}

#[test]
fn another_file_than_the_catalogs_is_thrown_away() {
    let server = Server::new(|_, request, stream| serve(stream, request, &[9; 4_000], "\"one\"", usize::MAX));
    let known = sha256(b"what was wanted");
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), &format!("sha256 = \"{known}\""));
    let words = ["sends another file", &sha256(&[9; 4_000]), &known, "--from URL"];
    sandbox.dmad(&["data", "fetch", "far", "--yes"]).says(2, &words);
    assert_eq!(left(&sandbox), ["cloth", "parts"]);
}

#[test]
fn an_archive_that_lies_here_already_is_compared_with_the_catalogs() {
    let sandbox = sandbox("http://127.0.0.1:9/far.zip", &format!("sha256 = \"{}\"\n", sha256(b"this one")));
    sandbox.write("data/far.zip", b"another one");
    sandbox
        .dmad(&["data", "fetch", "far", "--yes"])
        .says(2, &["far.zip", "is another archive", "dmad data import far"]);
}

#[test]
fn a_page_in_place_of_an_archive_is_told_and_not_found_again() {
    let server =
        Server::new(|_, request, stream| serve(stream, request, b"<html>Please log in</html>", "\"one\"", usize::MAX));
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    for _ in 0..2 {
        sandbox.dmad(&["data", "fetch", "far", "--yes"]).says(2, &["is a web page and no archive", "in a browser"]);
        assert_eq!(left(&sandbox), ["cloth", "parts"]);
    }
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_mirror_serves_what_the_catalog_knows() {
    let file = Arc::new(Mutex::new(Vec::new()));
    let served = file.clone();
    let server = Server::new(move |_, request, stream| match request.path.as_str() {
        "/mirror/far.tar.gz" => serve(stream, request, &served.lock().expect("whole"), "\"one\"", usize::MAX),
        _ => send(stream, "404 Not Found", &[], b"nothing"),
    });
    let sandbox = sandbox("http://127.0.0.1:9/nowhere/far.tar.gz", "");
    *file.lock().expect("whole") = archive(&sandbox);
    let wrong = format!("{}/elsewhere/", server.url);
    sandbox.dmad(&["data", "fetch", "far", "--yes", "--from", &wrong]).says(2, &["(404)", "--from URL names a mirror"]);
    fetches(&sandbox, &["--from", &format!("{}/mirror/", server.url)]);
}

#[test]
fn nothing_is_fetched_under_a_licence_that_nobody_agreed_to() {
    let server = Server::new(|_, request, stream| serve(stream, request, b"x", "\"one\"", usize::MAX));
    let sandbox = sandbox(&format!("{}/far.tar.gz", server.url), "");
    let words = ["licence: for tests", "nobody is here to agree", "dmad data fetch far --yes"];
    sandbox.dmad(&["data", "fetch", "far"]).says(2, &words);
    assert!(server.seen().is_empty(), "nothing was asked for");
}

#[test]
fn what_a_site_hands_out_behind_a_form_is_explained_and_imported_from_a_file() {
    let sandbox = sandbox("https://example.org/datasets/far", "");
    let words = [
        "cannot be fetched without you",
        "open https://example.org/datasets/far in a browser",
        "dmad data import far ARCHIVE",
    ];
    sandbox.dmad(&["data", "fetch", "far", "--yes"]).says(2, &words);
    sandbox.write("page.tar.gz", "<!doctype html><title>Please register</title>");
    sandbox.dmad(&["data", "import", "far", "page.tar.gz"]).says(2, &["is a web page and no archive", "in a browser"]);
    let all = files(&sandbox, "");
    let around = files(&sandbox, "some/folder/");
    for (name, bytes) in [("a.zip", zip(&around)), ("a.tar", tar(&all)), ("misnamed", gzip(&tar(&around)))] {
        sandbox.write(name, bytes);
        let imported = sandbox.dmad(&["data", "import", "far", name]);
        imported.says(0, &[]);
        assert!(imported.stdout.contains("far: ok; 2 classes"), "{}", imported.stdout);
        sandbox.dmad(&["data", "import", "far", name]).says(2, &["is there already", "remove it"]);
        std::fs::remove_dir_all(sandbox.path("data/far")).expect("removed");
    }
    assert_eq!(left(&sandbox), ["cloth", "parts"]);
    // The built-in catalog's own.
    std::fs::remove_file(sandbox.path("datasets.toml")).expect("removed");
    let words = ["mvtec-ad in a browser", "dmad data import mvtec_ad ARCHIVE"];
    sandbox.dmad(&["data", "fetch", "mvtec_ad", "--yes"]).says(2, &words);
    sandbox.dmad(&["data", "fetch", "synthetic", "--yes"]).says(2, &["is drawn by the program"]);
    sandbox.dmad(&["data", "fetch", "mvtec"]).says(2, &["did you mean `mvtec_ad`"]);
}

#[test]
fn a_tar_packed_with_xz_is_imported() {
    let sandbox = Sandbox::new();
    let bytes = base64::engine::general_purpose::STANDARD.decode(XZ).expect("base64");
    sandbox.write("cloth.tar.xz", &bytes);
    sandbox.write("datasets.toml", "[dataset.linen]\nlayout = \"folder\"\nroot = \"linen\"\nclasses = [\"linen\"]\n");
    let imported = sandbox.dmad(&["data", "import", "linen", "cloth.tar.xz"]);
    imported.says(0, &[]);
    assert!(imported.stdout.contains("2 train"), "{}", imported.stdout);
    sandbox.write("half.tar.xz", &bytes[..bytes.len() / 2]);
    std::fs::remove_dir_all(sandbox.path("data/linen")).expect("removed");
    sandbox.dmad(&["data", "import", "linen", "half.tar.xz"]).says(2, &["half.tar.xz", "cannot be unpacked"]);
    assert_eq!(left(&sandbox), ["cloth", "parts"]);
}

#[test]
fn a_dataset_without_folders_of_classes_is_found_in_an_archive_by_its_labels() {
    let sandbox = Sandbox::new();
    let entry = "[dataset.cells]\nlayout = \"elpv\"\nroot = \"cells\"\nclasses = [\"mono\"]\n";
    sandbox.write("datasets.toml", entry);
    let around = "elpv-dataset-master/src/elpv_dataset/data/";
    let mut labels = String::new();
    let mut packed = vec![("elpv-dataset-master/README.md".to_string(), b"cells".to_vec())];
    for image in 0..4 {
        let picture = sandbox.path(&format!("data/parts/disc/train/good/{image:03}.png"));
        packed.push((format!("{around}images/{image}.png"), std::fs::read(picture).expect("a picture")));
        labels += &format!("images/{image}.png  {}  mono\n", if image < 3 { "0.0" } else { "1.0" });
    }
    packed.push((format!("{around}labels.csv"), labels.into_bytes()));
    sandbox.write("cells.zip", zip(&packed));
    let out = sandbox.dmad(&["data", "import", "cells", "cells.zip"]);
    out.says(0, &[]);
    assert!(out.stdout.contains("cells: ok; 1 classes, 2 train, 1 test normal, 1 test anomalous"), "{}", out.stdout);
}

#[test]
fn an_archive_that_leads_out_of_its_folder_leaves_nothing() {
    let sandbox = sandbox("https://example.org/far", "");
    let good = files(&sandbox, "");
    let tar_of = |name: &str, kind: tar::EntryType, link: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        good.iter().for_each(|(name, bytes)| tar_entry(&mut tar, name, tar::EntryType::Regular, "", bytes));
        tar_entry(&mut tar, name, kind, link, if link.is_empty() { b"evil" } else { b"" });
        gzip(&tar.into_inner().expect("written"))
    };
    let zip_of = |name: &str| zip(&[good.clone(), vec![(name.to_string(), b"evil".to_vec())]].concat());
    let absolute = sandbox.path("evil").to_string_lossy().into_owned();
    let (file, link, hard) = (tar::EntryType::Regular, tar::EntryType::Symlink, tar::EntryType::Link);
    for (bytes, word) in [
        (tar_of("../evil", file, ""), "`../evil`, a path that leads out of it"),
        (tar_of("disc/../../evil", file, ""), "leads out of it"),
        (tar_of(&absolute, file, ""), "evil"),
        (tar_of("disc/link", link, "../../../evil"), "`disc/link`, a link"),
        (tar_of("disc/hard", hard, "/etc/passwd"), "`disc/hard`, a link"),
        (tar_of("disc/pipe", tar::EntryType::Fifo, ""), "neither a file nor a folder"),
        (zip_of("../evil"), "leads out of it"),
        (zip_of("disc\\..\\..\\evil"), "no path inside it"),
    ] {
        sandbox.write("evil.archive", bytes);
        sandbox.dmad(&["data", "import", "far", "evil.archive"]).says(2, &[word, "nothing of it was kept"]);
        assert_eq!(left(&sandbox), ["cloth", "parts"], "{word}");
        assert!(!sandbox.path("evil").exists() && !sandbox.path("data/evil").exists(), "{word}");
    }
    sandbox.write("other.zip", zip(&files(&sandbox, "")[..4]));
    sandbox
        .dmad(&["data", "import", "far", "other.zip"])
        .says(2, &["no folder with all classes of `far`", "disc, plate"]);
    assert_eq!(left(&sandbox), ["cloth", "parts"]);
}

#[test]
fn weights_that_are_not_the_published_ones_are_not_kept() {
    let server = Server::new(|_, request, stream| serve(stream, request, &[3; 2_000], "\"one\"", usize::MAX));
    let sandbox = Sandbox::new();
    let from = format!("{}/", server.url);
    let words = ["licence:", "sends another file", "f37072fd was expected"];
    sandbox.dmad(&["weights", "fetch", "resnet18", "--yes", "--from", &from]).says(2, &words);
    assert_eq!(server.seen()[0].path, "/resnet18-f37072fd.pth");
    assert_eq!(std::fs::read_dir(sandbox.path("weights")).expect("a folder").count(), 0);
    // Of these no digest is known: they have to fit.
    let dino = sandbox.dmad(&["weights", "fetch", "dinov2_vits14", "--yes", "--from", &from]);
    assert_eq!(dino.code, 2, "{}", dino.stderr);
    assert_eq!(std::fs::read_dir(sandbox.path("weights")).expect("a folder").count(), 0, "{}", dino.stderr);
    sandbox.dmad(&["weights", "fetch", "resnet18"]).says(2, &["dmad weights fetch resnet18 --yes"]);
    sandbox.dmad(&["weights", "fetch", "resnet19"]).says(2, &["did you mean"]);
}

#[test]
#[cfg_attr(not(dmad_references), ignore = "needs real images and weights: set DMAD_DATA, DMAD_WEIGHTS, DMAD_ORACLES")]
fn published_weights_are_fetched_in_pieces_and_used() {
    let file = std::fs::read(util::weights().join("efficientnet-lite0-57934424.pth")).expect("the weights");
    let server = Server::new(move |_, request, stream| serve(stream, request, &file, "\"one\"", 7_000_000));
    let sandbox = Sandbox::new();
    let from = format!("{}/", server.url);
    let fetch = || sandbox.dmad(&["weights", "fetch", "efficientnet_lite0", "--yes", "--from", &from]);
    let fetched = fetch();
    fetched.says(0, &["trying again"]);
    assert!(fetched.stdout.contains("fetched, weights/efficientnet-lite0-57934424.pth"), "{}", fetched.stdout);
    assert_eq!(server.seen().len(), 3);
    let again = fetch();
    again.says(0, &[]);
    assert!(again.stdout.contains("here already"), "{}", again.stdout);
    assert_eq!(server.seen().len(), 3, "nothing is fetched twice");
}
