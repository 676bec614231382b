//! All the state of the console. [`super::update`] changes it, [`super::view`] draws it.
//!
//! | module | contents |
//! | --- | --- |
//! | `alerts` | alerts until they are acknowledged |
//! | `bulk` | a change of many failed events in progress |
//! | `cursor` | a selection in a list |
//! | `edit` | edited failed events |
//! | `export` | an export in progress |
//! | `figures` | the figures of the last minute |
//! | `filter` | which lines are shown |
//! | `focus` | where typed letters go |
//! | `grouping` | groups lines by what they say |
//! | `history` | the history of figures, as graphs show it |
//! | `layout` | the positions of everything on the screen |
//! | `line` | one stored line |
//! | `line_ring` | the lines kept for scrolling back |
//! | `link` | the connection to the watched process |
//! | `notice` | a message shown for a while |
//! | `pages` | screens that show a scrollable text |
//! | `palette` | the palette, its commands and completions |
//! | `pane` | one view of the lines |
//! | `panels` | data of screens that outlives them |
//! | `panes` | the panes and the focus |
//! | `parts` | the parts of views with a list in a frame |
//! | `projects` | the list of projects |
//! | `query` | the language of filters and searches |
//! | `recording` | a running recording |
//! | `screen` | the screens and their state |
//! | `session` | the events of a session |
//! | `sql` | queries on the store |
//! | `stack` | the stack of open screens |
//! | `timeline` | how many lines there are at each time |
//! | `times` | formats times in the console's time zone |
//! | `trace` | the trace of an event or a batch |

pub mod alerts;
pub mod bulk;
pub mod cursor;
pub mod edit;
pub mod export;
pub mod figures;
pub mod filter;
pub mod focus;
pub mod grouping;
pub mod history;
pub mod layout;
pub mod line;
pub mod line_ring;
mod link;
mod notice;
pub mod pages;
pub mod palette;
pub mod pane;
pub mod panels;
pub mod panes;
pub mod parts;
pub mod projects;
pub mod query;
mod recording;
pub mod screen;
pub mod session;
pub mod sql;
mod stack;
pub mod timeline;
mod times;
pub mod trace;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use self::alerts::Alerts;
use self::bulk::Bulk;
use self::export::Export;
use self::figures::Figures;
pub use self::focus::{ExportOf, Field, Focus, Letter, Prompt, PromptPurpose};
pub use self::history::HistoryRow;
use self::history::Notable;
use self::line_ring::LineRing;
pub use self::link::Link;
use self::notice::Notice;
use self::pane::{Pane, Seek};
use self::panels::Panels;
use self::panes::Panes;
use self::projects::Projects;
pub use self::query::Purpose;
use self::query::ast::SQLITE;
pub use self::recording::Recording;
pub use self::screen::Screen;
use self::session::Session;
use self::timeline::Timeline;
use self::trace::Trace;
use super::histories::Histories;
use super::keymap::Bindings;
use super::msg::Effect;
use super::playback::ReplayState;
use super::remembered::Remembered;
use super::theme::{Skin, Theme};
use bklit_alerts::AlertSettings;
use bklit_wire::debug_log::Stage;
use bklit_wire::queue::FailedView;
use bklit_wire::time::UtcMillis;

/// The console's options.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// The source: `embedded`, or a daemon's URL.
    pub source: String,
    /// A command that sends an event, ready to paste.
    pub curl: Option<String>,
    /// The most lines kept for scrolling back.
    pub max_lines: usize,
    /// The most bytes that these lines may use.
    pub max_bytes: usize,
    /// The most warnings and errors kept after other lines of their time are dropped.
    pub max_problem_lines: usize,
    /// The most bytes that these may use.
    pub max_problem_bytes: usize,
    /// The number of waiting events from which the queue's depth is an alarm.
    pub alarm_depth: u64,
    /// Whether changes are disabled.
    pub read_only: bool,
    /// Times in UTC instead of the local zone.
    pub utc: bool,
    /// The local time zone.
    pub local_zone: TimeZone,
    /// The theme.
    pub theme: Theme,
    /// Other settings of the console.
    pub shell: Shell,
    /// The terminal's columns and rows.
    pub size: (u16, u16),
}

impl ModelOptions {
    /// The time zone in which times are shown.
    pub(super) fn zone(&self, utc: bool) -> TimeZone {
        if utc { TimeZone::UTC } else { self.local_zone.clone() }
    }
}

/// Settings of the console that are independent of its content.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    /// Whether only ASCII is shown.
    pub ascii: bool,
    /// Whether the mouse is enabled.
    pub mouse: bool,
    /// Saved filters: names and queries.
    pub filters: BTreeMap<String, String>,
    /// Saved queries on the store: names and SQL.
    pub queries: BTreeMap<String, String>,
    /// When to raise alerts.
    pub alerts: AlertSettings,
    /// The user's own themes.
    pub skins: BTreeMap<String, Skin>,
    /// The keys in effect.
    pub bindings: Bindings,
    /// What was typed in earlier runs.
    pub histories: Histories,
    /// The name of the theme in the settings.
    pub theme_name: String,
    /// Whether quitting stops a pipeline in this process.
    pub stops_pipeline: bool,
}

/// Whether new lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// New lines are shown.
    Live,
    /// New lines are kept, but not shown.
    Paused {
        /// The number of the first line held back.
        since: u64,
        /// The oldest line kept at that time.
        oldest: u64,
    },
}

/// How many figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A row for each stage.
    All,
    /// All stages in two rows.
    Few,
}

/// The whole state of the console.
#[derive(Debug)]
pub struct Model {
    pub(super) options: ModelOptions,
    pub(super) zone: TimeZone,
    pub(super) now: UtcMillis,
    pub(super) size: (u16, u16),
    pub(super) ring: LineRing,
    pub(super) panes: Panes,
    pub(super) timeline: Timeline,
    pub(super) figures: Figures,
    pub(super) panels: Panels,
    pub(super) notable: Notable,
    pub(super) screens: Vec<Screen>,
    pub(super) focus: Focus,
    /// The numbers of marked lines, by letter.
    pub(super) marks: BTreeMap<char, u64>,
    /// The jump in progress, in the focused pane.
    pub(super) seek: Option<Seek>,
    pub(super) flow: Flow,
    pub(super) link: Link,
    /// When the connection was lost, if it was.
    pub(super) cut: Option<UtcMillis>,
    /// Whether figures arrived although the connection is lost: those of this process.
    pub(super) hears_itself: bool,
    pub(super) amount: Amount,
    pub(super) lost: u64,
    pub(super) notice: Option<Notice>,
    /// Whether only ASCII is shown.
    pub(super) ascii: bool,
    /// Whether the mouse is enabled.
    pub(super) mouse: bool,
    /// What was typed before.
    pub(super) histories: Histories,
    /// The last saved layout; `None` if layouts are not saved.
    pub(super) saved: Option<Remembered>,
    /// The name of the theme.
    pub(super) theme_name: String,
    /// Until when another press of the key quits without asking, by the wall clock.
    pub(super) may_quit: Option<i64>,
    /// When events were last accepted.
    pub(super) accepted_at: Option<UtcMillis>,
    /// Saved filters.
    pub(super) filters: BTreeMap<String, String>,
    pub(super) export: Option<Export>,
    /// The failed event that is in the editor.
    pub(super) edited: Option<Box<FailedView>>,
    /// The change of many failed events, while it runs and until its result was seen.
    pub(super) bulk: Option<Bulk>,
    pub(super) recording: Option<Recording>,
    pub(super) replay: Option<ReplayState>,
    pub(super) alerts: Alerts,
    /// The wall clock, which continues while a replay is paused.
    pub(super) wall: UtcMillis,
    /// Effects besides the one returned for a message.
    pub(super) outbox: Vec<Effect>,
    pub(super) dirty: bool,
}

impl Model {
    /// A console without any lines yet.
    pub fn new(options: ModelOptions) -> Self {
        Self {
            zone: options.zone(options.utc),
            now: UtcMillis::MIN,
            size: options.size,
            ring: LineRing::new(options.max_lines, options.max_bytes)
                .with_problems(options.max_problem_lines, options.max_problem_bytes),
            panes: Panes::default(),
            timeline: Timeline::default(),
            figures: Figures::default(),
            panels: Panels::default(),
            notable: Notable::default(),
            screens: Vec::new(),
            focus: Focus::Keys,
            marks: BTreeMap::new(),
            seek: None,
            flow: Flow::Live,
            link: Link::Up,
            cut: None,
            hears_itself: false,
            amount: Amount::All,
            lost: 0,
            notice: None,
            ascii: options.shell.ascii,
            mouse: options.shell.mouse,
            histories: options.shell.histories.clone(),
            saved: None,
            theme_name: options.shell.theme_name.clone(),
            may_quit: None,
            accepted_at: None,
            filters: options.shell.filters.clone(),
            export: None,
            bulk: None,
            edited: None,
            recording: None,
            replay: None,
            alerts: Alerts::new(options.shell.alerts.clone()),
            wall: UtcMillis::MIN,
            outbox: Vec::new(),
            dirty: true,
            options,
        }
    }

    /// Whether the screen needs to be redrawn.
    pub fn needs_redraw(&self) -> bool {
        self.dirty
    }

    /// Marks the screen as up to date.
    pub fn drawn(&mut self) {
        self.dirty = false;
    }

    /// The lines kept.
    pub fn ring(&self) -> &LineRing {
        &self.ring
    }

    /// The focused view of the lines.
    pub fn pane(&self) -> &Pane {
        self.panes.focused()
    }

    /// All views of the lines.
    pub fn panes(&self) -> &Panes {
        &self.panes
    }

    /// The figures.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Data of screens that outlives them.
    pub fn panels(&self) -> &Panels {
        &self.panels
    }

    /// Where typed letters go.
    pub fn focus(&self) -> &Focus {
        &self.focus
    }

    /// The jump in progress, in the focused pane.
    pub fn seek(&self) -> Option<&Seek> {
        self.seek.as_ref()
    }

    /// Whether the mouse is enabled.
    pub fn mouse(&self) -> bool {
        self.mouse
    }

    /// Whether new lines are shown.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The number of waiting events from which the queue's depth is an alarm: the watched process's
    /// setting, or else this process's.
    pub fn alarm_depth(&self) -> u64 {
        self.figures.alarm_depth().unwrap_or(self.options.alarm_depth)
    }

    /// A stage's name as shown; the store's stage has the store's name. Filters accept both.
    pub fn stage_name(&self, stage: Stage) -> &'static str {
        match (stage, self.figures.store()) {
            (Stage::Clickhouse, Some(SQLITE)) => SQLITE,
            _ => stage.as_str(),
        }
    }

    /// The number of lines that did not reach the console.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Effects in addition to those returned for messages.
    pub fn take_outbox(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.outbox)
    }

    /// The state of the replay, if this is one.
    pub fn replay(&self) -> Option<&ReplayState> {
        self.replay.as_ref()
    }

    /// The alerts, until acknowledged.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The number of the first line that must not be shown yet.
    pub(super) fn limit(&self) -> u64 {
        match self.flow {
            Flow::Live => self.ring.next(),
            Flow::Paused { since, .. } => since,
        }
    }

    /// Whether there is work left: send [`super::msg::Msg::Work`].
    pub fn has_work(&self) -> bool {
        let on_screen = self.shown::<Trace>().is_some_and(|trace| trace.has_work(&self.ring))
            || self.shown::<Session>().is_some_and(|session| session.has_work(&self.ring))
            || self.shown::<Projects>().is_some_and(|projects| projects.has_work(&self.ring));
        let exports = self.export.as_ref().is_some_and(|export| !export.waits);
        on_screen
            || exports
            || self.seek.is_some()
            || self.panes.with_work(&self.ring, self.limit()).is_some()
    }

    /// Sets how many lines are examined per slice.
    pub fn set_slice(&mut self, lines: u64) {
        self.panes.all_mut().for_each(|pane| pane.set_slice(lines));
    }

    /// Updates all panes with new lines.
    pub(super) fn update_panes(&mut self) {
        let limit = self.limit();
        self.panes.all_mut().for_each(|pane| pane.update(&self.ring, limit));
    }
}
