//! The twin of the comparison: with a hook left out, and nothing healed, it shows differences.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::super::trial::trial;
use super::run::{Bounded, Order, run};
use super::workload::Workload;
use super::{WIDE, Watched};

/// The hook without which changes of the propagation are not seen.
const LEFT_OUT: &str = "change_mnt_propagation";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("unhooked::the_mirror_differs", the_mirror_differs)]
}

fn the_mirror_differs() -> Result<()> {
    let _bounded = Bounded::set()?;
    let mut watched = Watched::start(&["--without", LEFT_OUT], WIDE)?;
    let outcome = run(&mut watched.mirror, &Workload::random(7, 4, 300), Order::AtOnce)?;
    let wrong =
        outcome.differences.iter().filter(|difference| difference.contains("group") || difference.contains("master"));
    eprintln!("without {LEFT_OUT}: {} differences, {} of groups", outcome.differences.len(), wrong.clone().count());
    ensure!(wrong.count() > 0, "without {LEFT_OUT} the mirror still equals the kernel: {:?}", outcome.differences);
    ensure!(watched.print_sections()? > 0, "no sections are printed");
    watched.stop().map(drop)
}
