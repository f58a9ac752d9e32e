//! A browser without a window, driven over a pipe in the protocol of its developer tools: what tests of the page click with.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value as Json, json};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One browser at a time: each takes hundreds of megabytes.
static ALONE: Mutex<()> = Mutex::new(());

/// A page in a browser.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    heard: Receiver<Json>,
    asked: u64,
    session: Option<String>,
    /// Addresses that were loaded, and faults of scripts.
    pub loads: Vec<String>,
    pub faults: Vec<String>,
    _profile: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Browser {
    /// Opens a file in a window of so many pixels.
    pub fn open(file: &Path, size: (u32, u32)) -> Browser {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = tempfile::tempdir().expect("a folder");
        // The protocol is spoken on the third and fourth descriptor.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --mute-audio \
                      --disable-background-networking --disable-component-update --user-data-dir=\"$0\" \
                      --remote-debugging-pipe about:blank 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(profile.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON of the browser");
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let (loads, faults) = Default::default();
        let mut browser =
            Browser { child, to, heard, asked: 0, session: None, loads, faults, _profile: profile, _alone: alone };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].take();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach)["sessionId"].take();
        browser.session = session.as_str().map(String::from);
        ["Page.enable", "Runtime.enable", "Network.enable"].iter().for_each(|what| drop(browser.ask(what, json!({}))));
        browser.resize(size);
        browser.go(file);
        browser
    }

    /// Opens another file, or the same anew.
    pub fn go(&mut self, file: &Path) {
        self.ask("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        self.until("document.readyState === 'complete' && location.protocol === 'file:'");
    }

    /// Gives the window another size.
    pub fn resize(&mut self, (width, height): (u32, u32)) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    fn ask(&mut self, method: &str, parameters: Json) -> Json {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters.clone() });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let mut message = self.heard.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{method}: {e}"));
            // The page renewed itself meanwhile: the new one is asked.
            if message["id"] == self.asked && message["error"].to_string().contains("navigated or closed") {
                return self.ask(method, parameters);
            }
            if message["id"] == self.asked {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Json) {
        let told = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.loads.extend(told["request"]["url"].as_str().map(String::from));
            }
            Some("Runtime.exceptionThrown") => self.faults.push(told["exceptionDetails"].to_string()),
            _ => {}
        }
    }

    /// The value of an expression; promises are waited for.
    pub fn value(&mut self, expression: &str) -> Json {
        let how = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.ask("Runtime.evaluate", how);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The same as a number.
    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    /// The same as a text.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).into()
    }

    /// Waits until an expression is true; how long that took.
    pub fn until(&mut self, expression: &str) -> Duration {
        let began = Instant::now();
        // A page that is being loaded anew has no answer for a moment.
        let guarded = format!("(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()");
        loop {
            let answer = self.ask("Runtime.evaluate", json!({ "expression": guarded, "returnByValue": true }));
            if answer["result"]["value"] == true {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "never true: {expression}; faults: {:?}", self.faults);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks with the mouse on what a selector finds first.
    pub fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{ const found = document.querySelector({selector:?}); found.scrollIntoView({{ block: 'center' }}); \
             const box = found.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key on whatever has the focus.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => panic!("no code for {key}"),
        };
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Chooses a value in a select, as a reader would.
    pub fn choose(&mut self, id: &str, value: &str) {
        self.value(&format!(
            "(() => {{ const own = document.getElementById({id:?}); own.value = {value:?}; \
             own.dispatchEvent(new Event('change', {{ bubbles: true }})); return own.value; }})()"
        ));
    }

    /// Moves a slider, and waits until what follows from it is drawn.
    pub fn slide(&mut self, id: &str, value: f64) {
        self.value(&format!(
            "new Promise((done) => {{ const own = document.getElementById({id:?}); own.value = {value}; \
             own.dispatchEvent(new Event('input', {{ bubbles: true }})); \
             requestAnimationFrame(() => requestAnimationFrame(() => done(own.value))); }})"
        ));
    }

    /// Leaves a picture of what is seen in the folder that `DMAD_SHOTS` names, for people.
    pub fn shoot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("DMAD_SHOTS") else { return };
        let picture = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().expect("a picture"));
        std::fs::write(Path::new(&folder).join(name), bytes.expect("base64")).expect("written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
