//! The rows of a table with their columns in another order: what COPY would have printed for a
//! table whose columns were created in that order. A digest only; nothing is written.

use super::index::{Name, RowsDigest};
use xxhash_rust::xxh3::xxh3_128;

/// Digests rows in another order of columns. Holds one row at a time.
#[derive(Debug)]
pub struct Reordered {
    order: Vec<usize>,
    row: Vec<u8>,
    out: Vec<u8>,
    sum: u128,
    fits: bool,
}

/// For each column of `to` its position in `from`; none when they are not the same columns.
pub fn order(from: &[Name], to: &[Name]) -> Option<Vec<usize>> {
    let order: Vec<usize> = to
        .iter()
        .map(|column| from.iter().position(|other| other == column))
        .collect::<Option<_>>()?;
    let mut seen = order.clone();
    seen.sort_unstable();
    seen.dedup();
    (seen.len() == from.len() && to.len() == from.len()).then_some(order)
}

impl Reordered {
    /// `order` is what [`order`] gave.
    pub fn new(order: Vec<usize>) -> Reordered {
        Reordered {
            order,
            row: Vec::new(),
            out: Vec::new(),
            sum: 0,
            fits: true,
        }
    }

    /// Takes the next bytes of the rows as they are in the dump, cut anywhere.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.row.extend_from_slice(&bytes[..end]);
            self.end_row();
            bytes = &bytes[end + 1..];
        }
        self.row.extend_from_slice(bytes);
    }

    fn end_row(&mut self) {
        // COPY escapes tabs and newlines inside of values, so these separate columns.
        let fields: Vec<&[u8]> = self.row.split(|byte| *byte == b'\t').collect();
        self.fits &= fields.len() == self.order.len();
        if self.fits {
            self.out.clear();
            for (at, from) in self.order.iter().enumerate() {
                if at > 0 {
                    self.out.push(b'\t');
                }
                self.out.extend_from_slice(fields[*from]);
            }
            self.sum = self.sum.wrapping_add(xxh3_128(&self.out));
        }
        self.row.clear();
    }

    /// The digest of all rows; none when one of them does not have these columns or was cut.
    pub fn finish(self) -> Option<RowsDigest> {
        (self.fits && self.row.is_empty()).then_some(RowsDigest(self.sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<Name> {
        text.split(' ').map(Name::from).collect()
    }

    fn digest(rows: &str) -> RowsDigest {
        RowsDigest(rows.lines().fold(0, |sum: u128, row| {
            sum.wrapping_add(xxh3_128(row.as_bytes()))
        }))
    }

    #[test]
    fn only_the_same_columns_have_an_order() {
        assert_eq!(order(&names("a b c"), &names("a c b")), Some(vec![0, 2, 1]));
        for other in ["a b", "a b c d", "a b d", "a a b"] {
            assert_eq!(order(&names("a b c"), &names(other)), None, "{other}");
        }
    }

    #[test]
    fn rows_of_another_shape_do_not_fit() {
        for rows in ["1\t2\t3\n1\t2\n", "1\t2\t3\n4"] {
            let mut reordered = Reordered::new(vec![0, 2, 1]);
            reordered.feed(rows.as_bytes());
            assert_eq!(reordered.finish(), None, "{rows:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_digest_of_the_rows_that_copy_would_print(
            rows in proptest::collection::vec(("[a-z\\\\]{0,5}", "[0-9]{0,3}", "[N.]{0,2}"), 0..20),
            cut in 1usize..7,
        ) {
            let from: String = rows.iter().map(|(a, b, c)| format!("{a}\t{b}\t{c}\n")).collect();
            let to: String = rows.iter().map(|(a, b, c)| format!("{c}\t{a}\t{b}\n")).collect();
            let mut reordered = Reordered::new(vec![2, 0, 1]);
            for part in from.as_bytes().chunks(cut) {
                reordered.feed(part);
            }
            prop_assert_eq!(reordered.finish(), Some(digest(&to)));
        }
    }
}
