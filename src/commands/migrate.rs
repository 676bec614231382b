//! `migrate`: prints the statements that update ClickHouse's tables.

use color_eyre::Result;

use super::print;

/// Prints the statements in a form that ClickHouse's own client accepts.
///
/// # Errors
/// When they cannot be written.
pub fn run(statements: &[String], dry_run: bool) -> Result<()> {
    let mut text: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
    if statements.is_empty() {
        text.push_str("-- The tables are up to date.\n");
    } else if !dry_run {
        text.push_str("-- Done.\n");
    }
    print(&text)?;
    Ok(())
}
