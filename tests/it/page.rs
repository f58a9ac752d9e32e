//! The page: what a click, a key and a slider do, in a browser; what it shows while a study runs; what lies beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dmad::data::thumbnail::jpeg;
use dmad::record::{
    Album, AlbumImage, Life, ProcessState, ProcessStatus, RunCounts, StageStatus, Status, read_experiment, read_status,
    write_album, write_status,
};

use crate::browser::Browser;
use crate::fixture;
use crate::program::{Sandbox, command};

const WIDE: (u32, u32) = (1600, 1000);
const NARROW: (u32, u32) = (390, 844);

/// The made-up study of several variants, with its page.
fn judged() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    fixture::copy_to(&sandbox.path("results"));
    sandbox.dmad(&["report", "results/judged"]);
    let page = sandbox.path("results/judged/report.html");
    (sandbox, page)
}

/// A study of two seeds and two variants without training, run by the program.
fn run(more: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "experiment.toml",
        "title = \"parts\"\ndataset = \"parts\"\nseeds = [0, 1]\nimage.size = 64\nevaluation.size = 64\n\
         metrics = [\"image_auroc\", \"pixel_auroc\"]\n\
         backbone = { name = \"efficientnet_lite0\", weights = \"imagenet\" }\nfeatures.aggregation = \"concat\"\n\
         method.name = \"patchcore\"\n[[variant]]\nname = \"few\"\nprotocol.train_per_class = 2\n\
         [[figure]]\nkind = \"maps\"\n",
    );
    let out = sandbox.dmad(&[&["run", "experiment.toml"], more].concat());
    assert_eq!(out.code, 0, "{}", out.stderr);
    sandbox
}

/// How many images are shown, found, missed, falsely alarmed and passed.
fn counts(browser: &mut Browser) -> [f64; 5] {
    ["shown", "found", "missed", "false", "normal"]
        .map(|name| browser.number(&format!("Number(document.getElementById('g-counts').dataset.{name})")))
}

const ACTIVE: &str = "document.getElementById(document.getElementById('g-list').getAttribute('aria-activedescendant'))";

/// The number of the chosen image among those that are shown, from 1.
fn active(browser: &mut Browser) -> f64 {
    browser.number(&format!("Number({ACTIVE}.getAttribute('aria-posinset'))"))
}

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn a_slider_moves_the_threshold_and_filters_hide_what_is_not_wanted() {
    let (_sandbox, page) = judged();
    let mut browser = Browser::open(&page, WIDE);
    let [shown, found, missed, alarms, passed] = counts(&mut browser);
    assert_eq!(shown, found + missed + alarms + passed);
    assert!(found > 0.0 && passed > 0.0 && missed + alarms > 0.0, "F1 is best somewhere between");
    browser.slide("g-threshold", 0.0);
    let [_, all, none, false_alarms, nothing] = counts(&mut browser);
    assert_eq!(
        (all, none, false_alarms, nothing),
        (found + missed, 0.0, alarms + passed, 0.0),
        "all are called anomalous"
    );
    let most = browser.number("Number(document.getElementById('g-threshold').max)");
    browser.slide("g-threshold", most);
    assert_eq!(counts(&mut browser), [shown, 0.0, found + missed, 0.0, alarms + passed], "none is");
    browser.choose("g-verdict", "missed");
    assert_eq!(counts(&mut browser)[0], found + missed);
    browser.click("#g-best");
    assert_eq!(counts(&mut browser), [missed, found, missed, alarms, passed]);
    let labels = "[...document.querySelectorAll('.shot')].map((own) => own.getAttribute('aria-label')).join('\\n')";
    assert!(browser.text(labels).lines().all(|label| label.contains("missed")), "only these are shown");
    browser.choose("g-verdict", "");
    // The second of the study's classes.
    let class = browser.text("document.getElementById('g-class').options[2].text");
    browser.choose("g-class", "1");
    let [shown_of_class, ..] = counts(&mut browser);
    assert!(shown_of_class < shown);
    assert!(browser.text(labels).lines().all(|label| label.starts_with(&class)), "{class}");
    browser.choose("g-defect", "0");
    let [.., found, missed, _, _] = counts(&mut browser);
    assert_eq!((found, missed), (0.0, 0.0), "only good ones are left");
    browser.choose("g-defect", "");
    browser.choose("g-sort", "low");
    let scores = "[...document.querySelectorAll('.shot')].sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)\
                  .map((own) => Number(own.querySelector('b').textContent)).join(' ')";
    let text = browser.text(scores);
    let scores: Vec<f64> = text.split(' ').map(|score| score.parse().expect("a score")).collect();
    assert!(scores.len() > 5 && scores.is_sorted(), "{scores:?}");
    assert_eq!(browser.faults, [""; 0]);
}

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn keys_go_from_image_to_image_and_open_one() {
    let (_sandbox, page) = judged();
    let mut browser = Browser::open(&page, WIDE);
    browser.value("document.getElementById('g-list').focus()");
    assert_eq!(active(&mut browser), 1.0);
    browser.press("ArrowRight");
    assert_eq!(active(&mut browser), 2.0);
    browser.press("ArrowDown");
    let columns = active(&mut browser) - 2.0;
    assert!(columns > 2.0, "a row is several images at this width");
    browser.press("ArrowLeft");
    browser.press("ArrowUp");
    assert_eq!(active(&mut browser), 1.0);
    browser.press("End");
    let [shown, ..] = counts(&mut browser);
    assert_eq!(active(&mut browser), shown);
    let inside = format!(
        "(() => {{ const own = {ACTIVE}.getBoundingClientRect(), list = document.getElementById('g-list').getBoundingClientRect(); \
         return own.top >= list.top && own.bottom <= list.bottom; }})()"
    );
    assert_eq!(browser.value(&inside), true, "what is chosen is seen");
    assert_eq!(browser.text(&format!("{ACTIVE}.getAttribute('aria-selected')")), "true");
    browser.press("Home");
    browser.press("Enter");
    assert_eq!(browser.value("document.getElementById('g-dialog').open"), true);
    let title = "document.getElementById('g-title').textContent";
    assert!(browser.text(title).contains("1 of "));
    browser.press("ArrowRight");
    assert!(browser.text(title).contains("2 of "));
    browser.shoot("dialog.png");
    browser.press("Escape");
    assert_eq!(browser.value("document.getElementById('g-dialog').open"), false);
    assert_eq!(browser.text("document.activeElement.id"), "g-list", "the focus is back");
    assert_eq!(active(&mut browser), 2.0);
    assert!(browser.text(&format!("{ACTIVE}.getAttribute('aria-label')")).contains("score "));
    browser.click(".shot:nth-child(4)");
    assert_eq!(browser.value("document.getElementById('g-dialog').open"), true, "a click opens an image");
    browser.click("#g-close");
    assert_eq!(browser.value("document.getElementById('g-dialog').open"), false);
    assert_eq!(browser.faults, [""; 0]);
}

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn two_runs_stand_side_by_side_each_with_its_threshold() {
    let (_sandbox, page) = judged();
    let mut browser = Browser::open(&page, WIDE);
    let runs = "[...document.getElementById('g-run').options].map((own) => own.text)";
    let names: Vec<String> = serde_json::from_value(browser.value(runs)).expect("texts");
    let place = |start: &str| names.iter().position(|name| name.starts_with(start)).expect("a run").to_string();
    browser.choose("g-run", &place("full, 10 seen"));
    assert_eq!(browser.value("document.getElementById('g-threshold-other').checkVisibility()"), false);
    browser.choose("g-other", &place("rival"));
    assert_eq!(browser.value("document.getElementById('g-threshold-other').checkVisibility()"), true);
    assert_eq!(browser.number("document.querySelector('.shot').querySelectorAll('.view').length"), 2.0);
    let text = browser.text("document.getElementById('g-counts').textContent");
    assert!(text.contains("full, 10 seen") && text.contains("rival"), "{text}");
    browser.choose("g-verdict", "disagree");
    let labels = "[...document.querySelectorAll('.shot')].map((own) => own.getAttribute('aria-label')).join('\\n')";
    let text = browser.text(labels);
    let right = |words: &str| words.contains(", found") || words.contains(", passed");
    for label in text.lines() {
        let (own, theirs) = label.split_once("; ").expect("two runs");
        assert!(right(own) != right(theirs), "{label}");
    }
    assert!(!text.is_empty());
    let before = counts(&mut browser)[0];
    let most = browser.number("Number(document.getElementById('g-threshold-other').max)");
    browser.slide("g-threshold-other", most);
    assert_ne!(counts(&mut browser)[0], before, "the second threshold counts as well");
    browser.choose("g-verdict", "");
    browser.choose("g-sort", "apart");
    browser.value("document.getElementById('gallery').scrollIntoView()");
    browser.shoot("pair.png");
    browser.choose("g-other", "");
    assert_eq!(browser.number("document.querySelector('.shot').querySelectorAll('.view').length"), 1.0);
    assert_eq!(browser.faults, [""; 0]);
}

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn the_page_fits_a_telephone_and_a_wide_screen_and_its_tables_are_sorted_by_a_click() {
    let (_sandbox, page) = judged();
    let mut browser = Browser::open(&page, NARROW);
    for (size, name) in [(NARROW, "narrow"), (WIDE, "wide")] {
        browser.resize(size);
        browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
        browser.value("document.querySelectorAll('details').forEach((own) => { own.open = true; })");
        let width = browser.number("document.documentElement.scrollWidth");
        assert!(width <= f64::from(size.0), "{name}: {width}");
        for section in ["tables", "by-class", "gallery", "settings", "costs"] {
            browser.value(&format!("document.getElementById('{section}').scrollIntoView()"));
            browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
            browser.shoot(&format!("{name}-{section}.png"));
        }
        browser.value("window.scrollTo(0, 0)");
        browser.shoot(&format!("{name}.png"));
    }
    let first = "document.querySelector('#tables tbody tr td').textContent";
    let before = browser.text(first);
    browser.click("#tables thead th:nth-child(2)");
    assert_eq!(browser.text("document.querySelector('#tables thead th:nth-child(2)').ariaSort"), "descending");
    browser.click("#tables thead th:nth-child(2)");
    assert_eq!(browser.text("document.querySelector('#tables thead th:nth-child(2)').ariaSort"), "ascending");
    let values = "[...document.querySelectorAll('#tables table:first-of-type tbody tr')].map((row) => row.cells[1].dataset.value)\
                  .filter((own) => own !== undefined).join(' ')";
    let text = browser.text(values);
    let values: Vec<f64> = text.split(' ').map(|value| value.parse().expect("a number")).collect();
    assert!(values.len() > 1, "{before}: {values:?}");
    assert_eq!(browser.faults, [""; 0]);
}

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn pictures_come_from_the_folder_beside_the_page_with_their_maps_and_nothing_from_elsewhere() {
    let sandbox = run(&[]);
    let page = sandbox.path("results/experiment/report.html");
    let mut browser = Browser::open(&page, WIDE);
    let loaded = |what: &str| {
        format!(
            "[...document.querySelectorAll('{what}')].length > 1 && [...document.querySelectorAll('{what}')].every((own) => own.naturalWidth > 0)"
        )
    };
    browser.until(&loaded(".photo"));
    browser.until(&loaded(".map"));
    browser.click("#g-truth");
    browser.until("document.querySelectorAll('.truth').length > 0");
    browser.until(&loaded(".truth"));
    browser.value("document.getElementById('gallery').scrollIntoView()");
    browser.shoot("pictures.png");
    browser.click("#g-map");
    assert_eq!(browser.number("document.querySelectorAll('.map').length"), 0.0);
    browser.choose("g-other", "1");
    browser.click("#g-map");
    browser.until(&loaded(".map"));
    browser.shoot("pictures-pair.png");
    browser.value("document.getElementById('g-list').focus()");
    browser.press("Enter");
    browser.until("[...document.querySelectorAll('#g-dialog .photo')].every((own) => own.naturalWidth > 0)");
    browser.shoot("pictures-dialog.png");
    let elsewhere = |load: &&String| !["file:", "data:", "about:"].iter().any(|kind| load.starts_with(kind));
    assert_eq!(browser.loads.iter().find(elsewhere), None);
    // A page that was sent without its folder keeps the pictures that its figures chose.
    let alone = sandbox.path("alone.html");
    std::fs::copy(&page, &alone).expect("copied");
    browser.go(&alone);
    browser.until("document.querySelectorAll('.shot .absent').length > 0");
    browser.until(
        "[...document.querySelectorAll('.photo')].some((own) => own.src.startsWith('data:') && own.naturalWidth > 0)",
    );
    assert_eq!(browser.faults, [""; 0]);
}

/// A study of two runs with 5,000 test images, and pictures of all.
fn many() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.write(
        "many.toml",
        "title = \"Many images\"\ndataset = \"mvtec_ad\"\nmetrics = [\"image_auroc\"]\nmethod.name = \"dmad\"\n\
         [[variant]]\nname = \"rival\"\nmethod.name = \"patchcore\"\n",
    );
    let classes = [("bottle", 1500, 1000, 0.9, 0.9), ("carpet", 1200, 1300, 0.8, 0.8)];
    fixture::make_of(&sandbox.path("results"), &sandbox.path("many.toml"), &classes);
    let folder = sandbox.path("results/many");
    let recorded = read_experiment(&folder, &dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"));
    for number in 0..500usize {
        let pixels: Vec<u8> = (0..128 * 128 * 3).map(|place| (place / 384 + number * 7 + place % 96) as u8).collect();
        sandbox.write(&format!("results/many/gallery/images/{number}.jpg"), jpeg(&pixels, (128, 128), 80));
    }
    for run in &recorded.runs {
        let count = run.images().expect("images").len();
        assert_eq!(count, 5000);
        let image = |number: usize| {
            let image = format!("gallery/images/{}.jpg", number % 500);
            AlbumImage { image, truth: String::new() }
        };
        let album = Album::new((0..count).map(image).collect(), Default::default());
        write_album(&folder, run, album).expect("written");
    }
    sandbox.dmad(&["report", "results/many"]);
    let page = folder.join("report.html");
    (sandbox, page)
}

/// What a reader would call at once, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn five_thousand_images_do_not_freeze_the_page() {
    let (_sandbox, page) = many();
    let mut browser = Browser::open(&page, WIDE);
    let mut timed = |what: &str, act: &mut dyn FnMut(&mut Browser)| {
        let began = Instant::now();
        act(&mut browser);
        assert!(began.elapsed() < AT_ONCE, "{what} took {:?}", began.elapsed());
        let cards = browser.number("document.querySelectorAll('.shot').length");
        assert!((1.0..200.0).contains(&cards), "{what}: {cards} cards");
    };
    timed("the first cards", &mut |browser| {
        browser.until("[...document.querySelectorAll('.photo')].some((own) => own.naturalWidth > 0)");
    });
    timed("ten moves of the slider", &mut |browser| {
        (0..10).for_each(|part| browser.slide("g-threshold", 500.0 * f64::from(part)))
    });
    timed("a filter", &mut |browser| browser.choose("g-class", "1"));
    timed("an order", &mut |browser| browser.choose("g-sort", "wrong"));
    timed("a second run", &mut |browser| browser.choose("g-other", "1"));
    browser.choose("g-class", "");
    browser.value("document.getElementById('g-list').focus()");
    let began = Instant::now();
    browser.press("End");
    browser.until(&format!("{ACTIVE} && {ACTIVE}.ariaPosInSet === '5000'"));
    browser.until("[...document.querySelectorAll('.photo')].every((own) => own.naturalWidth > 0)");
    assert!(began.elapsed() < 2 * AT_ONCE, "the last images took {:?}", began.elapsed());
    let lately = browser.loads.iter().filter(|load| load.contains("/gallery/images/")).count();
    assert!(lately < 500, "pictures that nobody sees are not loaded: {lately}");
    assert_eq!(browser.faults, [""; 0]);
}

/// What a process that works says of itself.
fn word(done: usize) -> ProcessStatus {
    let stage = StageStatus { run: "full · 0 seen · seed 1".into(), stage: "training".into(), done: 3, total: 40 };
    ProcessStatus {
        runs: RunCounts { total: 20, done, current: 0, failed: 0, left: 20 - done },
        seconds_left: Some(120.0),
        stages: vec![stage],
        ..ProcessStatus::own()
    }
}

fn tell(folder: &Path, own: ProcessStatus, page: u64) {
    let status = Status { experiment: "judged".into(), page, processes: vec![own], ..Status::default() };
    write_status(folder, &status).expect("written");
}

#[test]
#[cfg_attr(not(dmad_browser), ignore = "needs chromium")]
fn a_page_of_a_study_that_runs_renews_itself_and_keeps_what_was_chosen() {
    let (sandbox, page) = judged();
    let folder = sandbox.path("results/judged");
    tell(&folder, word(3), 0);
    sandbox.dmad(&["report", "results/judged"]);
    let mut browser = Browser::open(&page, WIDE);
    let told = "document.querySelector('#live .told').textContent";
    browser.until(&format!("{told}.includes('about 2 min left')"));
    let text = browser.text(told);
    assert!(text.contains("3 of 20 runs") && text.contains("training 3/40"), "{text}");
    browser.shoot("live.png");
    tell(&folder, word(4), 0);
    browser.until(&format!("{told}.includes('4 of 20 runs')"));
    let silent = ProcessStatus { heartbeat: "2026-01-01T00:00:00Z".into(), ..word(4) };
    tell(&folder, silent, 0);
    browser.until(&format!("{told}.includes('No word for')"));
    browser.choose("g-class", "1");
    browser.slide("g-threshold", 7.0);
    browser.value("window.scrollTo(0, 700)");
    let made = "document.getElementById('live').dataset.made";
    let before = browser.text(made);
    let kept = |browser: &mut Browser| {
        let choice = "document.getElementById('g-class').value + ' ' + document.getElementById('g-threshold').value";
        assert_eq!(browser.text(choice), "1 7");
        let place = browser.number("window.scrollY");
        assert!((600.0..800.0).contains(&place), "{place}");
    };
    tell(&folder, word(5), 0);
    sandbox.dmad(&["report", "results/judged"]);
    tell(&folder, word(5), dmad::clock::milliseconds());
    browser.until(&format!("{made} !== '{before}' && document.readyState === 'complete'"));
    browser.until("window.scrollY > 100");
    kept(&mut browser);
    tell(&folder, ProcessStatus { state: ProcessState::Finished, ..word(20) }, 0);
    browser.until(&format!("{told}.includes('finished')"));
    sandbox.dmad(&["report", "results/judged"]);
    browser.until("document.readyState === 'complete' && !document.getElementById('live')");
    browser.until("window.scrollY > 100");
    kept(&mut browser);
    assert_eq!(browser.faults, [""; 0]);
    let text = std::fs::read_to_string(&page).expect("a page");
    assert!(!text.contains("live.js") && !folder.join("live.js").exists(), "it is static");
}

#[test]
fn a_study_leaves_a_static_page_with_pictures_of_its_images_and_says_that_it_has_ended() {
    let sandbox = run(&[]);
    let folder = sandbox.path("results/experiment");
    let status = read_status(&folder).expect("a status");
    let [own] = &status.processes[..] else { panic!("{status:?}") };
    assert_eq!((own.state, own.runs.done, own.runs.total), (ProcessState::Finished, 4, 4));
    assert!(own.stages.is_empty() && own.seconds_left.is_none(), "{own:?}");
    let page = std::fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(!page.contains("id=\"live\"") && !folder.join("live.js").exists());
    for words in
        ["<h2>Gallery</h2>", "<h2>Settings</h2>", "<h2>By class</h2>", "Table 1: parts", "protocol.train_per_class"]
    {
        assert!(page.contains(words), "{words} is not on the page");
    }
    let files = |part: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder.join("gallery").join(part)).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    // Ten test images, six of them with a truth; two classes of four runs.
    assert_eq!((files("images").len(), files("maps").len()), (16, 8));
    let bytes = || -> Vec<Vec<u8>> {
        let all = [files("images"), files("maps")].concat();
        all.iter().map(|path| std::fs::read(path).expect("a picture")).collect()
    };
    let before = bytes();
    std::fs::remove_file(&files("maps")[0]).expect("removed");
    sandbox.write("results/experiment/gallery/images/stray.jpg", "nobody's");
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["4 were up to date"]);
    assert!(before == bytes(), "what was missing is made again, and what belongs to nothing goes");
    let again = std::fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(page == again, "the same records give the same page");
    assert!(!run(&["--no-gallery"]).path("results/experiment/gallery").exists());
}

#[test]
fn a_killed_study_is_told_from_one_that_runs() {
    let sandbox = Sandbox::new();
    let settings = [("method.train.epochs", "4000"), ("seeds", "[0, 1, 2]"), ("metrics", "[\"image_auroc\"]")];
    sandbox.write("study.toml", crate::lab::with(&crate::lab::study("dmad"), &settings));
    sandbox.write("datasets.toml", crate::lab::DATASETS);
    let folder = sandbox.path("results/study");
    let mut child = command(&sandbox.path("."), &["run", "study.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let began = Instant::now();
    let is_training = |status: &Status| status.processes.iter().any(|own| !own.stages.is_empty());
    while !(folder.join("report.html").is_file() && read_status(&folder).as_ref().is_some_and(is_training)) {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is said of a study that runs");
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = read_status(&folder).expect("a status");
    assert_eq!(status.processes[0].life(), Life::Alive);
    assert_eq!((status.processes[0].pid, status.processes[0].runs.left), (child.id(), 3));
    let page = std::fs::read_to_string(folder.join("report.html")).expect("a page");
    assert!(page.contains("id=\"live\"") && page.contains("Runs to come"), "{page}");
    child.kill().expect("killed");
    child.wait().expect("dead");
    let status = read_status(&folder).expect("a status");
    assert_eq!(status.processes[0].life(), Life::Lost);
    assert!(!status.is_live());
}
