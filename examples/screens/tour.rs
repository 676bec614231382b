//! The tour through the console, key by key, and which screens are kept.

use std::path::Path;

use color_eyre::eyre::Result;
use vt100::{Cell, Color, Screen};

use crate::Album;
use crate::colours::{DARK, LIGHT, Scheme};
use crate::terminal::Terminal;
use crate::traffic::{LONG_TITLES, Pipeline};

/// Columns and rows.
const LARGE: (u16, u16) = (118, 34);
const MEDIUM: (u16, u16) = (118, 20);
const LOW: (u16, u16) = (118, 15);
const SMALL: (u16, u16) = (80, 24);

/// The default address, which must be free.
const USUAL_ADDRESS: &str = "127.0.0.1:3001";
pub const ANY_ADDRESS: &str = "127.0.0.1:0";

/// The colours of the focused frame.
const ACCENT_LIGHT: Color = Color::Rgb(0, 104, 120);
const ACCENT_DARK: Color = Color::Rgb(92, 208, 220);
/// Seconds until the sparklines are full.
const SECONDS: usize = 10;
/// Columns of the queue's graph, of two seconds each, that are enough.
const CHART: usize = 16;

struct Tour<'a> {
    // In this order: the program ends before its data dir is removed.
    console: Terminal,
    pipeline: Pipeline,
    album: &'a mut Album,
}

/// Visits all views.
pub fn go(program: &Path, album: &mut Album) -> Result<()> {
    let pipeline = Pipeline::new(program)?;
    let console = match start(&pipeline, USUAL_ADDRESS) {
        Ok(console) => console,
        Err(_) => start(&pipeline, ANY_ADDRESS)?,
    };
    let mut tour = Tour { console, pipeline, album };
    tour.pipeline.visitors()?;
    tour.console.wait_for("Batch stored")?;
    tour.help()?;
    tour.log()?;
    tour.alarm()?;
    tour.split()?;
    tour.looks()?;
    tour.live()?;
    tour.trace()?;
    tour.queue()?;
    tour.quit()
}

fn start(pipeline: &Pipeline, listen: &str) -> Result<Terminal> {
    let console = Terminal::spawn(pipeline.console(listen), LARGE)?;
    console.wait_for("Waiting for the first event.")?;
    Ok(console)
}

impl Tour<'_> {
    fn keep(&mut self, name: &str, screen: &Screen, scheme: &Scheme) -> Result<()> {
        self.album.add(name, screen, scheme, &self.pipeline.private())
    }

    /// Presses a key and waits for its effect.
    fn press(
        &mut self,
        keys: &str,
        what: &str,
        wanted: impl Fn(&Screen) -> bool,
    ) -> Result<Screen> {
        self.console.press(keys)?;
        self.console.wait(what, wanted)
    }

    fn help(&mut self) -> Result<()> {
        let screen = self.press("?", "the help, and how the parts are", |screen| {
            has(screen, &["─ keys ─", "Moving", "store ✓"])
        })?;
        self.keep("help", &screen, &DARK)?;
        self.press("\x1b", "the log", is_live).map(drop)
    }

    /// Everything works.
    fn log(&mut self) -> Result<()> {
        self.press(":notify level:error\r", "the alert", |screen| has(screen, &["level:error"]))?;
        let screen = self.console.wait("figures of some seconds", |screen| {
            is_live(screen) && is_full(screen) && has(screen, &["WARN", "all lines"])
        })?;
        self.keep("log", &screen, &DARK)
    }

    /// The store refuses events.
    fn alarm(&mut self) -> Result<()> {
        self.pipeline.break_store()?;
        let [first, others @ ..] = LONG_TITLES;
        for (project, url, title) in others {
            self.pipeline.view(project, url, title)?;
        }
        self.console.wait("an alert", |screen| {
            has(screen, &["ALERT"]) && failed(screen) == Some(others.len())
        })?;
        // Earlier lines have scrolled off the screen meanwhile.
        let (project, url, title) = first;
        self.pipeline.view(project, url, title)?;
        let screen = self.console.wait("an alert with its line", |screen| {
            is_live(screen) && has(screen, &["ALERT", "ERROR"])
        })?;
        self.keep("alarm", &screen, &DARK)?;
        // Only after all alerts: a later one would hide the hints.
        self.console.wait("all failed", |screen| failed(screen) == Some(LONG_TITLES.len()))?;
        self.press("a", "the alert acknowledged", |screen| !has(screen, &["ALERT"])).map(drop)
    }

    /// Above: all lines, with a search; below: warnings and errors.
    fn split(&mut self) -> Result<()> {
        self.press("s", "two panes", |screen| has(screen, &["▶2"]))?;
        self.press("&level:>=warn\r", "a filter", |screen| {
            has(screen, &["filter “level:>=warn”", "ERROR"])
        })?;
        self.press("\t", "the other pane", |screen| has(screen, &["▶1"]))?;
        let screen = self.press("/pricing", "a search", |screen| {
            has(screen, &["Search:", "match"]) && screen.contents().matches("pricing").count() > 1
        })?;
        self.keep("split", &screen, &DARK)?;
        self.press("\x1b", "no search", |screen| !has(screen, &["Search:"]))?;
        self.press("\t", "the other pane", |screen| has(screen, &["▶2"]))?;
        self.press("S", "one pane", |screen| has(screen, &["▶log"]))?;
        self.press("f", "the newest line", is_live)?;
        self.console.wait("a chart of the queue", |screen| {
            screen.contents().lines().any(|line| dots(line) >= CHART)
        })?;
        Ok(())
    }

    fn looks(&mut self) -> Result<()> {
        let screen = self.press(":theme light\r", "light colours", |screen| {
            is_live(screen) && frame(screen).is_some_and(|cell| cell.fgcolor() == ACCENT_LIGHT)
        })?;
        self.keep("light", &screen, &LIGHT)?;
        self.press(":theme mono\r", "no colours", |screen| {
            is_live(screen) && frame(screen).is_some_and(|cell| cell.fgcolor() == Color::Default)
        })?;
        self.console.resize(SMALL)?;
        let screen = self.console.wait("a small screen", is_live)?;
        self.keep("mono", &screen, &DARK)?;
        self.console.resize(LARGE)?;
        self.press(":theme dark\r", "dark colours", |screen| {
            is_live(screen) && frame(screen).is_some_and(|cell| cell.fgcolor() == ACCENT_DARK)
        })?;
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        let screen = self.press("v", "visitors of all sites", |screen| {
            has(screen, &["visitors", "shop", "blog", "docs", "pageview"])
        })?;
        self.keep("live", &screen, &DARK)?;
        self.press("\x1b", "the log", is_live).map(drop)
    }

    /// From the last error to the trace of its event.
    fn trace(&mut self) -> Result<()> {
        self.press("E", "the last error", |screen| {
            screen.contents().lines().any(|line| line.contains('▌') && line.contains("ERROR"))
        })?;
        self.press("\r", "the line in full", |screen| has(screen, &["\"reason\": \""]))?;
        self.console.resize(LOW)?;
        let screen = self.press("t", "the whole trace", |screen| {
            has(screen, &["trace of", "Event refused", "Batch stored"]) && is_done(screen)
        })?;
        self.keep("trace", &screen, &DARK)?;
        self.press("\x1b", "the line in full", |screen| has(screen, &["\"reason\": \""]))?;
        self.press("\x1b", "the log", |screen| has(screen, &["all lines"])).map(drop)
    }

    /// From failed events to their repair.
    fn queue(&mut self) -> Result<()> {
        self.console.resize(MEDIUM)?;
        let screen = self.press("d", "all failed events", |screen| {
            let text = screen.contents();
            // A batch in flight is shown with the name of this machine.
            text.matches("short_titles").count() == LONG_TITLES.len() && text.contains("  none")
        })?;
        self.keep("queue", &screen, &DARK)?;
        self.press("\r", "the failed event", |screen| has(screen, &["\"payload\""]))?;
        self.pipeline.mend_store()?;
        self.press("r", "its retry", |screen| has(screen, &["put back"]))?;
        self.console.resize(LOW)?;
        let screen = self.press("t", "both passes of the event", |screen| {
            let parts = ["trace of", "Event refused", "Page view stored", "stored in"];
            has(screen, &parts) && is_done(screen)
        })?;
        self.keep("retried", &screen, &DARK)
    }

    fn quit(&mut self) -> Result<()> {
        self.console.press("\x03")?;
        self.console.wait_for_end()
    }
}

/// Whether a screen has all these texts.
pub fn has(screen: &Screen, parts: &[&str]) -> bool {
    let text = screen.contents();
    parts.iter().all(|part| text.contains(part))
}

/// Whether the log is shown, up to its newest line.
pub fn is_live(screen: &Screen) -> bool {
    screen.hide_cursor() && has(screen, &["● LIVE", "following"])
}

/// Whether a trace is complete, and no message is shown next to it.
fn is_done(screen: &Screen) -> bool {
    !has(screen, &["looking…"]) && !has(screen, &["put back"])
}

/// A cell of the log's frame, whose colour shows the theme.
fn frame(screen: &Screen) -> Option<&Cell> {
    let mut rows = 0..screen.size().0.get();
    let row = rows.find(|&row| screen.cell(row, 2).is_some_and(|cell| cell.contents() == "▶"))?;
    screen.cell(row, 2)
}

/// The number of failed events next to the figures.
fn failed(screen: &Screen) -> Option<usize> {
    let text = screen.contents();
    let number = |line: &str| {
        let (_, rest) = line.split_once("│ failed ")?;
        rest.split_whitespace().next()?.parse().ok()
    };
    text.lines().find_map(number)
}

/// Whether the sparkline of a stage has no more room.
fn is_full(screen: &Screen) -> bool {
    screen.contents().lines().any(|line| line.contains("● ingestion") && blocks(line) >= SECONDS)
}

/// How much of a line is a graph.
fn dots(line: &str) -> usize {
    line.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count()
}

/// How much of a line is sparkline.
fn blocks(line: &str) -> usize {
    line.chars().filter(|c| ('▁'..='█').contains(c)).count()
}
