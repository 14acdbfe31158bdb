//! Lengths of time on the command line.

use std::time::Duration;

/// A time as `30m`, `12h`, `7d`, `90s` or `2w`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    const RULE: &str = "it is a number with its unit, as 30m, 12h or 7d";
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(RULE.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| RULE.to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}
