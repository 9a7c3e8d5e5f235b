//! PURE: Kubernetes quantities (`20M`, `1.5Mi`, `5e6`) to whole numbers. Touches nothing.
//!
//! The grammar is that of `resource.Quantity` in k8s.io/apimachinery, but what is not a whole number is refused
//! where Kubernetes rounds it up.

/// Longest fraction that is worked out, in digits: 18 digits times the largest factor (2^60) fit 128 bits.
const LONGEST_FRACTION: usize = 18;

/// Why a text is no quantity. Each message says what is wrong, then what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// `10m`: someone meant mega.
    #[error("`{text}` is {number} thousandths, since a small m is milli; write {number}M or {number}Mi")]
    Milli {
        /// As it was written.
        text: String,
        /// The text without its suffix.
        number: String,
    },
    /// `10K`: decimal kilo is a small k.
    #[error("`{text}` has the suffix K, which is none; write {number}k (1000) or {number}Ki (1024)")]
    CapitalK {
        /// As it was written.
        text: String,
        /// The text without its suffix.
        number: String,
    },
    /// `-1`.
    #[error("`{text}` is negative; write a positive number, or max for no limit")]
    Negative {
        /// As it was written.
        text: String,
    },
    /// `1.5`, `0.3Ki`, `5e-3`.
    #[error("`{text}` is not a whole number; write one, as 1536 or 1.5Ki")]
    NotWhole {
        /// As it was written.
        text: String,
    },
    /// More than 64 bits.
    #[error("`{text}` is above 18446744073709551615; write a smaller number, or max for no limit")]
    TooLarge {
        /// As it was written.
        text: String,
    },
    /// Anything else.
    #[error(
        "`{text}` is not a quantity; write a number, alone or with one of k M G T P E (times 1000) or Ki Mi Gi Ti Pi Ei \
         (times 1024), as 20M or 50Mi"
    )]
    NotAQuantity {
        /// As it was written.
        text: String,
    },
}

impl QuantityError {
    /// The first half of the message.
    pub fn what(&self) -> String {
        self.halves().0
    }

    /// The second half: what to write.
    pub fn remedy(&self) -> String {
        self.halves().1
    }

    fn halves(&self) -> (String, String) {
        let message = self.to_string();
        // A text that is no number may hold a semicolon itself; no remedy does.
        let (what, remedy) = message.rsplit_once("; ").unwrap_or((&message, ""));
        (what.to_owned(), remedy.to_owned())
    }
}

/// What a suffix multiplies with.
#[derive(Clone, Copy)]
enum Scale {
    Factor(u128),
    PowerOfTen(i32),
}

/// The whole number that a quantity stands for.
pub fn parse(text: &str) -> Result<u64, QuantityError> {
    let own = || text.to_owned();
    if text.starts_with('-') {
        return Err(QuantityError::Negative { text: own() });
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err(QuantityError::NotAQuantity { text: own() });
    }
    let scale = match suffix {
        "m" => {
            return Err(QuantityError::Milli { text: own(), number: number.to_owned() });
        }
        "K" => {
            return Err(QuantityError::CapitalK { text: own(), number: number.to_owned() });
        }
        "n" | "u" => return Err(QuantityError::NotWhole { text: own() }),
        _ => scale(suffix).ok_or_else(|| QuantityError::NotAQuantity { text: own() })?,
    };
    let value = multiply(whole, fraction, scale).map_err(|refusal| match refusal {
        Refusal::NotWhole => QuantityError::NotWhole { text: own() },
        Refusal::TooLarge => QuantityError::TooLarge { text: own() },
    })?;
    u64::try_from(value).map_err(|_| QuantityError::TooLarge { text: own() })
}

/// The meaning of a suffix; an exponent is `e` or `E` and a number, where `E` alone is exa.
fn scale(suffix: &str) -> Option<Scale> {
    let decimal = |power: u32| Scale::Factor(1000_u128.pow(power));
    let binary = |power: u32| Scale::Factor(1024_u128.pow(power));
    Some(match suffix {
        "" => decimal(0),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => return exponent(suffix.strip_prefix(['e', 'E'])?),
    })
}

/// The number behind an `e`; one that does not fit 32 bits is beyond every value anyway.
fn exponent(digits: &str) -> Option<Scale> {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let power = digits.parse().unwrap_or(i32::MAX);
    Some(Scale::PowerOfTen(if negative { -power } else { power }))
}

enum Refusal {
    NotWhole,
    TooLarge,
}

/// (whole.fraction) times the scale, exactly.
fn multiply(whole: &str, fraction: &str, scale: Scale) -> Result<u128, Refusal> {
    let (factor, shift) = match scale {
        Scale::Factor(factor) => (factor, 0),
        Scale::PowerOfTen(power) => (1, i64::from(power)),
    };
    let fraction = fraction.trim_end_matches('0');
    // The value is `digits` times `factor` times 10^`tens`.
    let joined = format!("{whole}{fraction}");
    let digits = joined.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let zeros = i64::try_from(digits.len() - significant.len()).map_err(|_| Refusal::TooLarge)?;
    let places = i64::try_from(fraction.len()).map_err(|_| Refusal::NotWhole)?;
    let tens = shift + zeros - places;
    let longest = i64::try_from(LONGEST_FRACTION).map_err(|_| Refusal::NotWhole)?;
    if tens < -longest {
        return Err(Refusal::NotWhole);
    }
    let product =
        significant.parse::<u128>().ok().and_then(|value| value.checked_mul(factor)).ok_or(Refusal::TooLarge)?;
    let power =
        u32::try_from(tens.unsigned_abs()).ok().and_then(|tens| 10_u128.checked_pow(tens)).ok_or(Refusal::TooLarge)?;
    if tens >= 0 {
        return product.checked_mul(power).ok_or(Refusal::TooLarge);
    }
    if product % power == 0 { Ok(product / power) } else { Err(Refusal::NotWhole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_quantity_stands_for() {
        let table: &[(&str, u64)] = &[
            ("0", 0),
            ("2", 2),
            ("+7", 7),
            ("007", 7),
            ("20M", 20_000_000),
            ("50Mi", 52_428_800),
            ("1k", 1000),
            ("1Ki", 1024),
            ("1.5Mi", 1_572_864),
            ("0.5k", 500),
            (".5Ki", 512),
            ("5.", 5),
            ("1.000", 1),
            ("5e6", 5_000_000),
            ("5E6", 5_000_000),
            ("1.5e3", 1500),
            ("5000e-3", 5),
            ("5E", 5_000_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("3G", 3_000_000_000),
            ("3Gi", 3 << 30),
            ("3T", 3_000_000_000_000),
            ("3Ti", 3 << 40),
            ("3P", 3_000_000_000_000_000),
            ("3Pi", 3 << 50),
            ("18446744073709551615", u64::MAX),
            ("0e99999999999", 0),
        ];
        for (text, value) in table {
            assert_eq!(parse(text), Ok(*value), "{text}");
        }
    }

    #[test]
    fn what_is_refused_and_what_to_write() {
        let table: &[(&str, &str)] = &[
            ("10m", "`10m` is 10 thousandths, since a small m is milli; write 10M or 10Mi"),
            ("10K", "`10K` has the suffix K, which is none; write 10k (1000) or 10Ki (1024)"),
            ("-1", "`-1` is negative; write a positive number, or max for no limit"),
            ("1.5", "`1.5` is not a whole number; write one, as 1536 or 1.5Ki"),
            ("5e-3", "`5e-3` is not a whole number; write one, as 1536 or 1.5Ki"),
            ("10n", "`10n` is not a whole number; write one, as 1536 or 1.5Ki"),
            (
                "18446744073709551616",
                "`18446744073709551616` is above 18446744073709551615; write a smaller number, or max for no limit",
            ),
            ("16Ei", "`16Ei` is above 18446744073709551615; write a smaller number, or max for no limit"),
        ];
        for (text, message) in table {
            assert_eq!(parse(text).unwrap_err().to_string(), *message, "{text}");
        }
        for text in
            ["", ".", "M", "1.2.3", "10MB", "10MiB", "10mi", "1_000", "0x10", "1 M", "5e", "5e+", "5ee6", "٣", "1M "]
        {
            assert!(matches!(parse(text), Err(QuantityError::NotAQuantity { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_itself(value: u64) {
            prop_assert_eq!(parse(&value.to_string()), Ok(value));
        }

        #[test]
        fn suffixes_multiply(value in 0_u64..1 << 13) {
            prop_assert_eq!(parse(&format!("{value}Pi")), Ok(value << 50));
            prop_assert_eq!(parse(&format!("{value}P")), Ok(value * 10_u64.pow(15)));
            prop_assert_eq!(parse(&format!("{value}e15")), Ok(value * 10_u64.pow(15)));
        }

        #[test]
        fn fractions_are_exact(value in 0_u64..1 << 40) {
            let text = format!("{}.{:03}k", value / 1000, value % 1000);
            prop_assert_eq!(parse(&text), Ok(value));
        }

        #[test]
        fn nothing_panics(text in "\\PC*|[0-9.eEkKMi+-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
