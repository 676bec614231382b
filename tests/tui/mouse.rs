//! The mouse scrolls and selects what is under it on the screen.

use bklit_console_core::model::pane::Position;
use bklit_console_core::model::panels::VisitorsList;
use bklit_console_core::model::{Focus, ModelOptions, Screen};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::debug_log::{Level, Stage};
use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use serde_json::json;

use super::feed::{Console, busy, options};
use super::properties::{lines, small};
use super::views;

const SIZES: [(u16, u16); 5] = [(60, 15), (80, 24), (109, 30), (120, 40), (200, 60)];
/// The mark of a selected row.
const MARK: &str = "▌";

pub(super) fn mouse(
    console: &mut Console,
    kind: MouseEventKind,
    (column, row): (u16, u16),
) -> Option<Effect> {
    let modifiers = KeyModifiers::NONE;
    console.send(Msg::Mouse(MouseEvent { kind, column, row, modifiers }))
}

fn click(console: &mut Console, at: (u16, u16)) -> Option<Effect> {
    mouse(console, MouseEventKind::Down(MouseButton::Left), at)
}

fn wheel(console: &mut Console, up: bool, at: (u16, u16)) {
    let kind = if up { MouseEventKind::ScrollUp } else { MouseEventKind::ScrollDown };
    assert_eq!(mouse(console, kind, at), None);
}

/// A busy console with its mouse on.
fn with_mouse(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    assert_eq!(console.code(KeyCode::F(2)), Some(Effect::Mouse(true)));
    // The notice disappears.
    console.tick(5);
    console
}

/// What is on the screen, drawn once.
struct Shot(Buffer);

impl Shot {
    fn of(console: &Console) -> Self {
        Self(console.buffer())
    }

    fn cell(&self, x: u16, y: u16) -> &str {
        self.0.cell((x, y)).unwrap().symbol()
    }

    /// A row without its mark.
    fn row(&self, y: u16) -> String {
        (0..self.0.area.width).map(|x| self.cell(x, y).replace(MARK, " ")).collect()
    }

    /// The rows on which something is marked as selected.
    fn marked(&self) -> Vec<u16> {
        let is_marked = |&y: &u16| (0..self.0.area.width).any(|x| self.cell(x, y) == MARK);
        (0..self.0.area.height).filter(is_marked).collect()
    }
}

fn row(console: &Console, y: u16) -> String {
    Shot::of(console).row(y)
}

/// Where a text begins on the screen.
fn find(console: &Console, text: &str) -> (u16, u16) {
    let screen = console.screen();
    let mut rows = screen.lines().enumerate();
    let found = rows.find_map(|(y, row)| {
        let before = &row[..row.find(text)?];
        Some((bklit_wire::text::width(before) as u16, y as u16))
    });
    found.unwrap_or_else(|| panic!("{text:?} is not in:\n{screen}"))
}

#[test]
fn is_off_at_first_and_says_when_it_is_on() {
    let mut console = busy(80, 24);
    let before = console.screen();
    wheel(&mut console, true, (10, 15));
    assert_eq!(click(&mut console, (10, 15)), None);
    assert_eq!(console.screen(), before);
    assert_eq!(console.code(KeyCode::F(2)), Some(Effect::Mouse(true)));
    assert!(console.screen().lines().next().unwrap().contains("mouse"), "{}", console.screen());
    assert!(console.screen().contains("the mouse is on; F2 gives it back"));
    assert_eq!(console.code(KeyCode::F(2)), Some(Effect::Mouse(false)));
    assert!(!console.screen().lines().next().unwrap().contains("mouse"));
    console.keys(":set mouse on");
    assert_eq!(console.code(KeyCode::Enter), Some(Effect::Mouse(true)));

    let mut from_the_start = options((80, 24));
    from_the_start.shell.mouse = true;
    let mut console = Console::with(from_the_start);
    assert_eq!(console.code(KeyCode::F(2)), Some(Effect::Mouse(false)));
}

#[test]
fn a_click_selects_the_line_under_it_in_any_pane_at_any_size() {
    for (width, height) in SIZES {
        for (panes, folds) in [(1, false), (2, true), (3, false), (4, false)] {
            let mut console = with_mouse(width, height);
            console.keys(&"s".repeat(panes - 1));
            console.keys(if folds { "z" } else { "" });
            // Panes that follow and panes that do not.
            console.keys(if panes == 3 { "kkkk" } else { "" });
            let places = console.model.layout().unwrap().panes(console.model.panes());
            let mut before = Shot::of(&console);
            for place in places {
                for y in place.lines.top()..place.lines.bottom() {
                    if before.marked() == [y] {
                        continue;
                    }
                    let x = place.lines.right() - 1;
                    assert_eq!(click(&mut console, (x, y)), None);
                    assert_eq!(console.model.panes().focus(), place.pane);
                    let case = format!("{width}×{height}, pane {} row {y}", place.pane);
                    let after = Shot::of(&console);
                    assert_eq!(after.cell(place.lines.x, y), MARK, "{case}");
                    assert_eq!(after.row(y), before.row(y), "{case}");
                    // Others keep their own selection.
                    assert!(after.marked().len() <= before.marked().len() + 1, "{case}");
                    before = after;
                }
            }
        }
    }
}

#[test]
fn a_second_click_opens_what_is_selected() {
    let mut console = with_mouse(80, 24);
    let log = console.model.layout().unwrap().log;
    let at = (20, log.y + 3);
    click(&mut console, at);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    let line = console.model.pane().cursor_line().unwrap();
    click(&mut console, at);
    let Screen::Detail(shown) = console.model.screen() else { panic!("{}", console.screen()) };
    assert_eq!(shown.number, line);
    // Clicks in it do nothing; the wheel scrolls it.
    let before = console.screen();
    click(&mut console, at);
    click(&mut console, (0, 0));
    assert_eq!(console.screen(), before);
    console.code(KeyCode::Esc);
    // Another pane's line is selected first, also when it is that pane's own.
    console.keys("s");
    let places = console.model.layout().unwrap().panes(console.model.panes());
    let other = places[0].lines;
    let shot = Shot::of(&console);
    let selected = (other.y..other.bottom()).find(|&y| shot.cell(other.x, y) == MARK).unwrap();
    click(&mut console, (5, selected));
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    assert_eq!(console.model.panes().focus(), 0);
    click(&mut console, (5, selected));
    assert!(matches!(console.model.screen(), Screen::Detail(_)));
}

#[test]
fn the_wheel_scrolls_the_pane_under_it_and_follows_again_at_the_end() {
    let mut console = with_mouse(120, 40);
    console.keys("s");
    let places = console.model.layout().unwrap().panes(console.model.panes());
    let [upper, lower] = [&places[0], &places[1]];
    assert_eq!(console.model.panes().focus(), 1);
    let at = |place: &bklit_console_core::model::layout::PanePlace| (9, place.lines.y + 1);
    let (first, unmoved) = (row(&console, upper.lines.y), row(&console, lower.lines.y));
    wheel(&mut console, true, at(upper));
    assert_eq!(console.model.panes().focus(), 1, "the wheel moves no focus");
    assert_eq!(row(&console, upper.lines.y + 3), first);
    assert_eq!(row(&console, lower.lines.y), unmoved);
    assert!(!console.model.panes().get(0).follows());
    wheel(&mut console, false, at(upper));
    assert_eq!(row(&console, upper.lines.y), first);
    assert!(!console.model.panes().get(0).follows(), "it has just reached the end");
    wheel(&mut console, false, at(upper));
    assert!(console.model.panes().get(0).follows());
    // To the oldest line and no further.
    (0..500).for_each(|_| wheel(&mut console, true, at(lower)));
    assert_eq!(console.model.pane().window(lower.lines.height.into()).range.start, 0);
    assert!(matches!(console.model.pane().position(), Position::At { .. }));
}

#[test]
fn a_click_on_a_stage_hides_or_shows_it() {
    for (width, height) in [(60, 15), (80, 24), (120, 40)] {
        for stage in Stage::ALL {
            let mut console = with_mouse(width, height);
            let digit = (stage.index() + 1).to_string();
            let figures = console.model.layout().unwrap().figures;
            let shot = Shot::of(&console);
            let mut cells = (figures.y..figures.bottom())
                .flat_map(|y| (figures.x..figures.right()).map(move |x| (x, y)));
            // The digit before the sign of a stage that is shown.
            let at = cells.find(|&(x, y)| {
                let is_shown = |x| shot.cell(x, y) == "●";
                shot.cell(x, y) == digit && (is_shown(x + 1) || is_shown(x + 2))
            });
            let at = at.unwrap();
            for shown in [false, true] {
                click(&mut console, at);
                let stages = console.model.pane().filter().stages;
                assert_eq!(stages.contains(Some(stage)), shown, "{stage} {width}×{height}");
            }
            let others = Stage::ALL
                .into_iter()
                .all(|stage| console.model.pane().filter().stages.contains(Some(stage)));
            assert!(others);
        }
    }
}

/// Whether a screen is one that a row of a list opens.
type Opened = fn(&Screen) -> bool;

/// The views with lists, each with more rows than the screen has.
fn lists(size: (u16, u16)) -> Vec<(&'static str, Console, Opened)> {
    let mut queue = with_mouse(size.0, size.1);
    let mut failed = views::snapshot(90);
    failed.view.batches.clear();
    views::open_queue(&mut queue, Ok(failed));
    let mut batch = with_mouse(size.0, size.1);
    super::lists::open_batch(&mut batch, 90);
    let mut verify = with_mouse(size.0, size.1);
    views::mismatches(&mut verify, 90);
    verify.keys("V");
    let mut projects = with_mouse(size.0, size.1);
    for nth in 0..90 {
        let mut line = super::feed::log(nth, Stage::Queue, Level::Info, "x", &json!({}));
        line.project_id = Some(format!("project-{nth:02}"));
        projects.logs(vec![line]);
    }
    projects.keys("p");
    let mut trace = with_mouse(size.0, size.1);
    for nth in 0..90 {
        let mut line = super::feed::log(nth, Stage::Queue, Level::Info, "x", &json!({}));
        line.event_id = Some("evt_long".into());
        trace.logs(vec![line]);
    }
    trace.keys("t");
    vec![
        ("queue", queue, |screen| matches!(screen, Screen::Failed(_))),
        ("batch", batch, |screen| matches!(screen, Screen::Trace(_))),
        ("verify", verify, |screen| matches!(screen, Screen::Detail(_))),
        ("projects", projects, |screen| matches!(screen, Screen::Log(_))),
        ("trace", trace, |screen| matches!(screen, Screen::Detail(_))),
    ]
}

#[test]
fn a_click_selects_a_row_of_a_list_and_a_second_one_opens_it() {
    for size in SIZES {
        for (name, mut console, opens) in lists(size) {
            let name = format!("{name} {size:?}");
            // Scrolled by some rows.
            (0..20).for_each(|_| wheel(&mut console, false, (3, size.1 / 2)));
            let mut before = Shot::of(&console);
            let was = before.marked();
            let [first] = was[..] else { panic!("{name}: {was:?}\n{}", console.screen()) };
            let mut selected = Vec::new();
            for y in 0..size.1 {
                if before.marked() == [y] {
                    selected.push(y);
                    continue;
                }
                assert_eq!(click(&mut console, (size.0 - 1, y)), None);
                let after = Shot::of(&console);
                let marked = after.marked();
                assert_eq!(marked.len(), 1, "{name} row {y}");
                if marked == [y] {
                    assert_eq!(after.row(y), before.row(y), "{name} row {y}");
                    selected.push(y);
                }
                before = after;
            }
            // All rows of the list, and nothing else.
            assert!(selected.contains(&first), "{name}");
            assert!(selected.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{name} {selected:?}");
            let last = *selected.last().unwrap();
            click(&mut console, (3, last));
            assert!(opens(console.model.screen()), "{name}\n{}", console.screen());
        }
    }
}

#[test]
fn nothing_below_a_short_list_can_be_clicked() {
    let mut console = with_mouse(80, 40);
    views::open_queue(&mut console, Ok(views::snapshot(2)));
    let before = console.screen();
    click(&mut console, (3, 37));
    assert_eq!(console.screen(), before);
    console.send(Msg::Answer(Answer::Queue(Ok(views::snapshot(0)))));
    for y in 0..40 {
        click(&mut console, (3, y));
    }
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
}

#[test]
fn the_wheel_scrolls_the_help_and_a_detail() {
    let mut console = with_mouse(80, 24);
    console.keys("?");
    let top = row(&console, 5);
    wheel(&mut console, false, (10, 10));
    assert_eq!(row(&console, 2), top);
    wheel(&mut console, true, (10, 10));
    assert_eq!(row(&console, 5), top);
    // Header and hints are not part of the view.
    let before = console.screen();
    wheel(&mut console, false, (10, 0));
    wheel(&mut console, false, (10, 23));
    assert_eq!(console.screen(), before);
}

#[test]
fn completions_can_be_clicked_and_nothing_behind_them() {
    for (width, height) in SIZES {
        let mut console = with_mouse(width, height);
        console.keys(":");
        let at = find(&console, "level  ");
        // Behind the palette: the log, the stages.
        let before = console.screen();
        let stage = console.model.layout().unwrap().stage(Stage::Queue);
        click(&mut console, (stage.x + 2, stage.y));
        click(&mut console, (5, 0));
        wheel(&mut console, true, (stage.x + 2, stage.y));
        assert_eq!(console.screen(), before, "{width}×{height}");
        click(&mut console, at);
        let Focus::Palette(palette) = console.model.focus() else { panic!("it closed") };
        assert_eq!(palette.input.value(), "level", "{width}×{height}");
        let x = console.model.layout().unwrap().log.x;
        assert_eq!(Shot::of(&console).cell(x, at.1), MARK, "{width}×{height}");
        wheel(&mut console, false, at);
        let Focus::Palette(palette) = console.model.focus() else { panic!("it closed") };
        assert_eq!(palette.input.value(), "project", "{width}×{height}");
    }
}

#[test]
fn a_click_neither_accepts_nor_discards_typed_text() {
    let mut console = with_mouse(80, 24);
    let log = console.model.layout().unwrap().log;
    let at = (10, log.y + 2);
    for open in ["/", "&", "m"] {
        console.keys(open);
        console.keys(if open == "m" { "" } else { "stored" });
        let before = console.screen();
        click(&mut console, at);
        click(&mut console, at);
        assert_eq!(console.screen(), before, "{open}");
        console.code(KeyCode::Esc);
    }
    console.keys("/stored");
    wheel(&mut console, true, at);
    assert!(!console.model.pane().follows(), "one can look around while typing");
    console.code(KeyCode::Esc);
    views::open_queue(&mut console, Ok(views::snapshot(25)));
    console.keys("D2");
    let before = console.screen();
    click(&mut console, (10, 20));
    assert_eq!(console.screen(), before);
}

#[test]
fn held_lines_that_were_evicted_cannot_be_selected() {
    let mut console = Console::with(ModelOptions { ..small() });
    console.code(KeyCode::F(2));
    lines(&mut console, 100, "before");
    console.keys(" ");
    lines(&mut console, 145, "held");
    let log = console.model.layout().unwrap().log;
    let rows = |console: &Console| -> Vec<_> {
        console.log_rows().iter().map(|row| row.replace(MARK, " ")).collect()
    };
    let before = rows(&console);
    click(&mut console, (10, log.y));
    assert_eq!(rows(&console), before);
    assert_eq!(console.model.notice(), Some("that line is no longer kept"));
}

#[test]
fn clicks_work_at_any_size_and_position() {
    for (width, height) in [(1, 1), (59, 14), (60, 15), (250, 80)] {
        let mut console = with_mouse(80, 24);
        console.resize(width, height);
        for at in [(0, 0), (width, height), (u16::MAX, u16::MAX), (0, u16::MAX)] {
            for keys in ["", "?", "d", "v", "V", "t", "p", ":"] {
                console.keys(keys);
                click(&mut console, at);
                wheel(&mut console, true, at);
                wheel(&mut console, false, at);
                console.screen();
                console.code(KeyCode::Esc);
                console.code(KeyCode::Esc);
            }
        }
    }
}

#[test]
fn a_click_goes_to_another_list_of_the_view() {
    for size in SIZES {
        let mut console = with_mouse(size.0, size.1);
        views::open_queue(&mut console, Ok(views::snapshot(90)));
        let second = find(&console, "worker-1");
        assert_eq!(click(&mut console, second), None);
        let batch = console.model.panels().queue.selected_batch().unwrap();
        assert_eq!(batch.items, 1_000, "{size:?}\n{}", console.screen());
        let (_, y) = find(&console, "worker-1");
        assert_eq!(Shot::of(&console).marked(), [y]);
        // It is selected now, so this opens it.
        let opened = click(&mut console, (3, y));
        assert!(matches!(opened, Some(Effect::Ask(Request::Batch(_)))), "{opened:?}");
        console.code(KeyCode::Esc);
        let failed = find(&console, "before 1970");
        assert_eq!(click(&mut console, failed), None);
        assert!(console.model.panels().queue.selected_batch().is_none());

        let mut console = with_mouse(size.0, size.1);
        super::lists::open_live(&mut console, 12);
        for (text, list) in [
            ("/products/1?", VisitorsList::Pages),
            ("/p/0", VisitorsList::Events),
            ("shop-0", VisitorsList::Projects),
        ] {
            let at = find(&console, text);
            assert_eq!(click(&mut console, at), None, "{text} {size:?}");
            assert_eq!(console.model.panels().visitors.list(), list, "{text} {size:?}");
            assert_eq!(
                Shot::of(&console).marked(),
                [at.1],
                "{text} {size:?}\n{}",
                console.screen()
            );
        }
        let at = find(&console, "shop-0");
        assert_eq!(click(&mut console, at), None);
        assert!(matches!(console.model.screen(), Screen::Log(_)));
    }
}
