//! The user's own colours: a built-in theme with other colours for some roles.

use std::collections::BTreeMap;

use ratatui::style::Color;

use super::{Palette, Role, components};
use crate::appearance::Scheme;

/// The setting that names the theme on which a skin is based.
const BASE: &str = "base";

/// A built-in theme, or one with other colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skin {
    base: Scheme,
    /// By role; `None` where the colour of the base applies.
    colors: [Option<Color>; Role::ALL.len()],
}

/// A theme's setting that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSkin {
    /// The key within the skin.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl From<Scheme> for Skin {
    fn from(base: Scheme) -> Self {
        Self { base, colors: [None; Role::ALL.len()] }
    }
}

impl Skin {
    /// Reads the settings of a skin: colours by role, and optionally its base.
    ///
    /// # Errors
    /// The first role or colour that is not known.
    pub fn read(settings: &BTreeMap<String, String>) -> Result<Self, WrongSkin> {
        let wrong = |key: &str, message: String| WrongSkin { key: key.to_owned(), message };
        let base = settings.get(BASE).map_or(Ok(Scheme::Dark), |name| name.parse());
        let mut skin =
            Self::from(base.map_err(|message: String| wrong(BASE, format!("is an {message}")))?);
        for (key, value) in settings.iter().filter(|(key, _)| *key != BASE) {
            let place = Role::ALL.iter().position(|role| role.as_str() == key);
            let place = place.ok_or_else(|| {
                let known = Role::ALL.map(Role::as_str).join(", ");
                wrong(key, format!("is not a color role (base, {known})"))
            })?;
            let color = value.parse().map_err(|_| {
                let like = "\"#5fafff\", \"75\" or a name like \"bright-blue\"";
                wrong(key, format!("is not a color: {value}; try {like}, or \"reset\" for none"))
            })?;
            skin.colors[place] = Some(color);
        }
        Ok(skin)
    }

    /// The built-in theme on which it is based.
    pub fn base(&self) -> Scheme {
        self.base
    }

    /// The colour of a role on a terminal; `None` for the terminal's own.
    pub(super) fn color(&self, role: Role, palette: Palette) -> Option<Color> {
        let place = Role::ALL.iter().position(|known| *known == role);
        let own = place.and_then(|place| self.colors[place]);
        match (own, palette) {
            (_, Palette::NoColour) | (Some(Color::Reset), _) => None,
            (Some(Color::Rgb(r, g, b)), Palette::Ansi256) => Some(nearest((r, g, b))),
            // Of these, a terminal with 16 colours has none that is near enough.
            (Some(Color::Rgb(..) | Color::Indexed(16..)), Palette::Ansi16) | (None, _) => {
                role.color(self.base, palette)
            }
            (own, _) => own,
        }
    }
}

/// The nearest of the 240 colours that all terminals have in common.
fn nearest((r, g, b): (u8, u8, u8)) -> Color {
    let distance = |index: u8| {
        let Some(other) = components(Color::Indexed(index)) else { return u32::MAX };
        let squared = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        squared(r, other.0) + squared(g, other.1) + squared(b, other.2)
    };
    Color::Indexed((16..=u8::MAX).min_by_key(|&index| distance(index)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Skin, WrongSkin> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Skin::read(&settings.iter().map(owned).collect())
    }

    #[test]
    fn a_skin_changes_some_colours_of_its_base() {
        let skin = read(&[
            ("base", "light"),
            ("accent", "#ff8700"),
            ("error", "9"),
            ("frame", "bright-blue"),
            ("dim", "reset"),
        ]);
        let skin = skin.unwrap();
        let on = |role, palette| skin.color(role, palette);
        assert_eq!(on(Role::Accent, Palette::TrueColour), Some(Color::Rgb(255, 135, 0)));
        assert_eq!(on(Role::Accent, Palette::Ansi256), Some(Color::Indexed(208)));
        let base = Role::Accent.color(Scheme::Light, Palette::Ansi16);
        assert_eq!(on(Role::Accent, Palette::Ansi16), base);
        assert_eq!(on(Role::Error, Palette::Ansi16), Some(Color::Indexed(9)));
        assert_eq!(on(Role::Frame, Palette::Ansi16), Some(Color::LightBlue));
        assert_eq!(on(Role::Dim, Palette::TrueColour), None);
        let base = Role::Good.color(Scheme::Light, Palette::TrueColour);
        assert_eq!(on(Role::Good, Palette::TrueColour), base);
        assert!(Role::ALL.iter().all(|&role| on(role, Palette::NoColour).is_none()));
    }

    #[test]
    fn errors_name_what_is_known() {
        let message = |settings: &[_]| read(settings).unwrap_err().message;
        assert!(message(&[("base", "pink")]).contains("unknown theme pink (dark, light, mono)"));
        assert!(message(&[("acent", "1")]).contains("(base, accent, frame"));
        assert!(message(&[("accent", "puce")]).contains("is not a color: puce; try"));
        assert_eq!(read(&[("error", "#12")]).unwrap_err().key, "error");
    }

    #[test]
    fn every_role_can_be_set_and_has_a_name_of_its_own() {
        for (nth, role) in Role::ALL.into_iter().enumerate() {
            let skin = read(&[(role.as_str(), "#010203")]).unwrap();
            let own = |role| skin.color(role, Palette::TrueColour) == Some(Color::Rgb(1, 2, 3));
            let set: Vec<_> = Role::ALL.into_iter().filter(|&role| own(role)).collect();
            assert_eq!(set, [role], "{nth}");
        }
    }
}
