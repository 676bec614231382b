//! Generates the pictures in `docs/screens` from the running program; see `scripts/screens.sh`.

#![allow(missing_docs)]

mod colours;
mod glyphs;
mod night;
mod svg;
mod terminal;
mod tour;
mod traffic;
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use color_eyre::eyre::{Context as _, Result, bail, ensure};
use vt100::Screen;

use colours::Scheme;

/// The largest size of a picture, in bytes.
const MAX_BYTES: usize = 60_000;

/// The largest size of the film, in bytes.
const MAX_FILM_BYTES: usize = 400_000;
/// The screens of the film, in order, and how many seconds each is shown.
const FILM: [&str; 7] = ["log", "alarm", "split", "live", "trace", "queue", "retried"];
const SECONDS: usize = 4;

/// The pictures so far, and the screens of the film.
#[derive(Default)]
pub struct Album {
    pictures: BTreeMap<&'static str, String>,
    film: Vec<(&'static str, Screen)>,
}

impl Album {
    /// Adds a screen under a name of [`views::VIEWS`]; fails if it shows private data.
    pub fn add(
        &mut self,
        name: &str,
        screen: &Screen,
        scheme: &Scheme,
        private: &[String],
    ) -> Result<()> {
        let Some(&(name, title)) = views::VIEWS.iter().find(|(view, _)| *view == name) else {
            bail!("{name} is not in the list of views");
        };
        let contents = screen.contents();
        for secret in private {
            ensure!(!contents.contains(secret.as_str()), "{name} shows {secret}");
        }
        let picture = svg::render(screen, title, scheme);
        ensure!(picture.len() <= MAX_BYTES, "{name} has {} bytes", picture.len());
        self.pictures.insert(name, picture);
        if FILM.contains(&name) {
            self.film.push((title, screen.clone()));
        }
        Ok(())
    }

    /// Adds the film of the screens so far.
    fn finish_film(&mut self) -> Result<()> {
        let Some(&(name, title)) = views::VIEWS.iter().find(|(view, _)| *view == views::FILM)
        else {
            bail!("the film is not in the list of views");
        };
        let film = svg::film(&self.film, title, &colours::DARK, SECONDS);
        ensure!(film.len() <= MAX_FILM_BYTES, "{name} has {} bytes", film.len());
        self.pictures.insert(name, film);
        Ok(())
    }

    /// Writes all pictures, and removes those that are no longer generated.
    fn write(&self, folder: &Path) -> Result<()> {
        for (name, _) in views::VIEWS {
            ensure!(self.pictures.contains_key(name), "{name} was not generated");
        }
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "svg") {
                std::fs::remove_file(path)?;
            }
        }
        for (name, picture) in &self.pictures {
            std::fs::write(folder.join(format!("{name}.svg")), picture)?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder] = arguments.as_slice() else {
        bail!("usage: screens FOLDER; scripts/screens.sh does it");
    };
    // Cargo puts examples into a subdirectory next to the program.
    let example = std::env::current_exe()?;
    let built = example.ancestors().nth(2).unwrap_or(Path::new("."));
    let mut album = Album::default();
    let program = built.join("bklit-tui");
    tour::go(&program, &mut album)?;
    night::go(&program, &mut album)?;
    album.finish_film()?;
    album.write(folder).wrap_err_with(|| format!("cannot write into {}", folder.display()))?;
    println!("{} pictures are in {}", views::VIEWS.len(), folder.display());
    Ok(())
}
