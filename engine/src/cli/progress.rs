//! Progress on a terminal only; a pipe or a log file gets none.

use std::io::IsTerminal;

use epiledger_ingest::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Runs long work under a bar on stderr that follows its stages; hidden when stderr is no terminal.
pub fn with_bar<T>(work: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> T) -> (ProgressBar, T) {
    let bar = bar();
    let step = |progress: Progress| draw(&bar, progress);
    let done = work(&step);
    (bar, done)
}

/// Runs long work under a bar on stderr that counts one thing; hidden when stderr is no terminal.
pub fn with_count<T>(name: &'static str, work: impl FnOnce(&dyn Fn(u64, u64)) -> T) -> (ProgressBar, T) {
    let bar = bar();
    bar.set_prefix(name);
    let step = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let done = work(&step);
    (bar, done)
}

/// The bar itself.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{prefix:>10} {bar:40} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Moves the bar to a step.
fn draw(bar: &ProgressBar, progress: Progress) {
    let stage = name(progress.stage);
    if bar.prefix() != stage {
        bar.set_prefix(stage);
        bar.reset();
    }
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

const fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Simulate => "simulate",
        Stage::Import => "import",
        Stage::Verify => "verify",
        Stage::Tables => "tables",
        Stage::Commit => "commit",
        Stage::Publish => "publish",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_moves_the_bar() {
        let (bar, ()) = with_count("fetching", |step| step(3, 8));
        assert_eq!((bar.position(), bar.length(), bar.prefix().as_str()), (3, Some(8), "fetching"));
    }

    #[test]
    fn the_bar_follows_the_steps_and_starts_again_with_each_stage() {
        let (bar, sum) = with_bar(|step| {
            step(Progress { stage: Stage::Simulate, done: 7, total: 7 });
            step(Progress { stage: Stage::Verify, done: 2, total: 9 });
            5
        });
        assert_eq!((sum, bar.position(), bar.length(), bar.prefix().as_str()), (5, 2, Some(9), "verify"));
    }
}
