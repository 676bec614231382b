//! docs/commands.md against the command line, and every command line in all pages.

use std::collections::{BTreeMap, BTreeSet};

use bklit_tui::cli::Cli;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory};

use super::page;

const PAGE: &str = "docs/commands.md";

/// Subcommands without subcommands of their own, by their full name.
fn leaves(command: &Command, name: &str, found: &mut BTreeMap<String, Command>) {
    for subcommand in command.get_subcommands() {
        let name = format!("{name} {}", subcommand.get_name());
        match subcommand.has_subcommands() {
            true => leaves(subcommand, &name, found),
            false => drop(found.insert(name, subcommand.clone())),
        }
    }
}

fn documented_name(argument: &Arg) -> String {
    match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => argument.get_value_names().expect("a name").first().unwrap().to_string(),
    }
}

#[test]
fn every_subcommand_has_a_section_with_its_arguments() {
    let text = page::read(PAGE);
    let mut commands = BTreeMap::new();
    leaves(&Cli::command(), "bklit-tui", &mut commands);
    let sections: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(sections, commands.keys().cloned().collect(), "sections of {PAGE}");
    for (name, command) in &commands {
        let rows = page::rows(page::section(&text, &format!("### {name}")));
        let rows: BTreeMap<_, _> =
            rows.iter().map(|row| (page::spans(&row[0])[0].clone(), row)).collect();
        let arguments: BTreeMap<_, _> = command
            .get_arguments()
            .filter(|argument| !argument.is_global_set() && argument.get_id() != "help")
            .map(|argument| (documented_name(argument), argument))
            .collect();
        let names = |of: Vec<&String>| of.into_iter().cloned().collect::<Vec<_>>();
        let documented = names(rows.keys().collect());
        assert_eq!(documented, names(arguments.keys().collect()), "arguments of {name}");
        for (argument, spec) in &arguments {
            check_row(name, argument, spec, rows[argument]);
        }
    }
}

fn check_row(command: &str, name: &str, argument: &Arg, row: &[String]) {
    let [names, default, meaning] = row else { panic!("{command} {name}: {row:?}") };
    if let Some(short) = argument.get_short() {
        assert!(names.contains(&format!("`-{short}`")), "{command}: {name} is also -{short}");
    }
    let is_required = default == "required";
    assert_eq!(is_required, argument.is_required_set(), "{command}: whether {name} is required");
    let takes_values = argument.get_action().takes_values();
    for value in argument.get_default_values().iter().filter(|_| takes_values) {
        let value = format!("`{}`", value.to_str().unwrap());
        assert_eq!(*default, value, "{command}: the default of {name}");
    }
    for value in argument.get_possible_values().iter().filter(|_| takes_values) {
        let value = format!("`{}`", value.get_name());
        assert!(meaning.contains(&value), "{command}: {name} takes {value}");
    }
}

/// The arguments of a command line, if it runs the program.
pub fn arguments_of(line: &str) -> Option<Vec<String>> {
    let mut arguments = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ', None) => arguments.push(String::new()),
            ('|' | '&' | '#' | ';' | '>', None) => break,
            _ => arguments.last_mut()?.push(c),
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    (arguments.first()? == "bklit-tui").then_some(arguments)
}

#[test]
fn every_command_line_in_the_pages_is_valid() {
    let mut checked = 0;
    for (name, text) in page::all() {
        for arguments in page::code(&text).iter().filter_map(|line| arguments_of(line)) {
            checked += 1;
            let Err(error) = Cli::command().try_get_matches_from(&arguments) else { continue };
            // A subcommand may be named without the arguments it needs.
            let is_a_name = [
                ErrorKind::MissingRequiredArgument,
                ErrorKind::MissingSubcommand,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ];
            let is_fine = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
            let is_fine = is_a_name.contains(&error.kind()) || is_fine.contains(&error.kind());
            assert!(is_fine, "{name}: {arguments:?}: {error}");
        }
    }
    assert!(checked > 50, "{checked}");
}
