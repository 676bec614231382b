//! Pauses and resumes accepting and storing events.

use color_eyre::Result;

use super::super::{print, user};
use bklit_pipeline::queue::Queue;
use bklit_wire::pause::{Pausable, Pause};
use bklit_wire::text::safe;

/// Pauses a part of all processes of the queue.
pub(super) async fn pause(queue: &dyn Queue, part: Pausable, reason: Option<&str>) -> Result<()> {
    let before = queue.paused().await?.part_mut(part).take();
    queue.pause(part, Some(&Pause::new(&user(), reason))).await?;
    if let Some(before) = before {
        print(&safe(&format!("was already paused {before}")))?;
        print("\n")?;
    }
    print(match part {
        Pausable::Intake => "intake paused: events are refused with 503 until it is resumed\n",
        Pausable::Workers => "workers paused: events wait in the queue until they are resumed\n",
    })?;
    Ok(())
}

/// Resumes it.
pub(super) async fn resume(queue: &dyn Queue, part: Pausable) -> Result<()> {
    let before = queue.paused().await?.part_mut(part).take();
    queue.pause(part, None).await?;
    let name = part.as_str();
    print(&match before {
        Some(before) => safe(&format!("{name} resumed, paused {before}")).into_owned() + "\n",
        None => format!("{name}: not paused\n"),
    })?;
    Ok(())
}
