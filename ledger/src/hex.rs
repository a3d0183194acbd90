//! Lower-case hexadecimal, the only spelling of hashes and keys on the chain.

/// Lower-case hex of some bytes.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The `N` bytes that exactly `2 * N` lower-case hex digits spell; `None` for anything else, upper case too.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_alone_is_read_back() {
        assert_eq!(encode(&[0, 0x1f, 0xab]), "001fab");
        assert_eq!(decode::<3>("001fab"), Some([0, 0x1f, 0xab]));
        for wrong in ["001fAB", "001fa", "001fab0", "001fag", ""] {
            assert_eq!(decode::<3>(wrong), None, "{wrong}");
        }
    }
}
