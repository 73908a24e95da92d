//! Variables that had another name. The old one is read where the new one is not set, for one version; old flags are aliases.

use clap::Arg;

/// The arguments, and the variables they had.
const OLD: [(&str, &str); 3] = [
    ("body_memory", "GUESTBOOK_BODIES_LIMIT"),
    ("response_memory", "GUESTBOOK_ANSWERS_LIMIT"),
    ("write_queue", "GUESTBOOK_QUEUE"),
];

/// The variable that an argument had before.
pub(super) fn old_variable(argument: &Arg) -> Option<&'static str> {
    let of = OLD.into_iter().find(|(name, _)| argument.get_id() == name);
    of.map(|(_, variable)| variable)
}
