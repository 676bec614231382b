//! The generated screens, `docs/screens/NAME.svg` each.

/// The name of a file without its extension, and its title.
pub const VIEWS: &[(&str, &str)] = &[
    ("log", "The log of all stages, with figures"),
    ("split", "Two panes: warnings and errors, and a search"),
    ("live", "Who is there now"),
    ("help", "Keys and commands"),
    ("light", "On a light background"),
    ("mono", "80 columns, 24 rows, without colours"),
    ("alarm", "An alarm: events failed"),
    ("trace", "The trace of an event that failed"),
    ("queue", "The queue: what failed, and why"),
    ("retried", "The event after its retry, stage by stage"),
    ("locked", "Nothing is stored: another process has the store locked"),
    ("redis", "Redis is gone: events are accepted into the spool"),
    ("deploy", "A new version of a site sends events that are refused"),
    ("reasons", "The problems: why events are refused"),
    ("refused", "The refused events of one reason"),
    ("flood", "One customer sends far too much"),
    ("projects", "The history: which project it is"),
    (FILM, "A tour: what is wrong, for which event, and how it is repaired"),
];

/// The name of the film, which shows several of the others one after the other.
pub const FILM: &str = "tour";
