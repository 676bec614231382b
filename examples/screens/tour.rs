//! What is done in the console, key by key, and which of its screens are kept.

use std::path::Path;

use color_eyre::eyre::Result;
use vt100::Screen;

use crate::Album;
use crate::colours::{DARK, LIGHT, Scheme};
use crate::terminal::Terminal;
use crate::traffic::Pipeline;

const LARGE: (u16, u16) = (118, 34);
const SMALL: (u16, u16) = (80, 24);

struct Tour<'a> {
    pipeline: Pipeline,
    console: Terminal,
    album: &'a mut Album,
}

/// Goes through all views.
pub fn go(program: &Path, album: &mut Album) -> Result<()> {
    let pipeline = Pipeline::new(program)?;
    let console = Terminal::spawn(pipeline.console(), LARGE)?;
    let mut tour = Tour { pipeline, console, album };
    tour.console.wait_for("Waiting for the first event.")?;
    tour.pipeline.visitors()?;
    tour.console.wait_for("Batch stored")?;
    tour.help()?;
    tour.live()?;
    tour.log()?;
    tour.split()?;
    tour.looks()?;
    tour.repair()
}

impl Tour<'_> {
    fn keep(&mut self, name: &str, screen: &Screen, scheme: &Scheme) -> Result<()> {
        if std::env::var_os("DUMP").is_some() {
            println!("=== {name}\n{}", screen.contents());
        }
        self.album.add(name, screen, scheme, &self.pipeline.private())
    }

    fn help(&mut self) -> Result<()> {
        self.console.press("?")?;
        let screen = self.console.wait_for("─ keys ─")?;
        self.keep("help", &screen, &DARK)?;
        self.console.press("\x1b")?;
        self.console.wait_for("● LIVE").map(drop)
    }

    fn live(&mut self) -> Result<()> {
        self.console.press("v")?;
        let screen = self.console.wait("visitors of all sites", |screen| {
            let text = screen.contents();
            ["shop", "blog", "docs"].iter().all(|site| text.contains(site))
        })?;
        self.keep("live", &screen, &DARK)?;
        self.console.press("\x1b")
    }

    fn log(&mut self) -> Result<()> {
        let screen = self.console.wait("figures of some seconds", |screen| {
            is_full(screen) && screen.contents().contains("WARN")
        })?;
        self.keep("log", &screen, &DARK)
    }

    fn split(&mut self) -> Result<()> {
        self.console.press("s&level:>=warn\r")?;
        self.console.wait_for("filter “level:>=warn”")?;
        self.console.press("\t/pricing\r")?;
        let screen = self.console.wait_for("search “pricing”")?;
        self.keep("split", &screen, &DARK)?;
        self.console.press("\x1b\tS")
    }

    fn looks(&mut self) -> Result<()> {
        self.console.press(":theme light\r")?;
        let screen = self.console.wait("light colours", |screen| screen.hide_cursor())?;
        self.keep("light", &screen, &LIGHT)?;
        self.console.resize(SMALL)?;
        let screen = self.console.wait("a small screen", |screen| {
            screen.size().0.get() == SMALL.1 && screen.contents().contains("LIVE")
        })?;
        self.keep("small", &screen, &LIGHT)?;
        self.console.press(":theme mono\r")?;
        let screen = self.console.wait("no colours", |screen| screen.hide_cursor())?;
        self.keep("mono", &screen, &DARK)?;
        self.console.press(":theme dark\r")?;
        self.console.resize(LARGE)?;
        self.console.wait("a large screen", |screen| screen.contents().contains("LIVE")).map(drop)
    }

    fn repair(&mut self) -> Result<()> {
        self.console.press(":notify level:error\r")?;
        self.pipeline.break_store()?;
        let title = "Checkout: espresso machine, grinder, two cups, a kilo of beans, filters, a brush";
        self.pipeline.view("shop", "https://shop.example/checkout", &format!("{title} and more"))?;
        let screen = self.console.wait_for("Event refused by the store")?;
        self.keep("alarm", &screen, &DARK)?;
        self.console.press("E")?;
        self.console.wait_for("▌")?;
        self.console.press("\r")?;
        let screen = self.console.wait_for("short_titles")?;
        self.keep("reason", &screen, &DARK)?;
        self.console.press("t")?;
        let screen = self.console.wait_for("trace of")?;
        self.keep("trace", &screen, &DARK)?;
        self.console.press("\x1b\x1b")?;
        self.console.press("d")?;
        let screen = self.console.wait_for("─ queue")?;
        self.keep("queue", &screen, &DARK)?;
        self.pipeline.mend_store()?;
        self.console.press("r")?;
        self.console.press("t")?;
        let screen = self.console.wait_for("trace of")?;
        self.keep("retried", &screen, &DARK)
    }
}

/// Whether the sparkline of a stage has no more room.
fn is_full(screen: &Screen) -> bool {
    let blocks = |line: &str| line.chars().filter(|c| ('▁'..='█').contains(c)).count();
    screen.contents().lines().any(|line| line.contains("ingestion ") && blocks(line) >= 16)
}
