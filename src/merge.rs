//! Places blobs in their sections: each distinct one once (exact deduplication), and none that is the tail of another
//! (tail merging; every blob ends in NUL, so a tail is a blob). What remains is laid out in the order of first use, so that
//! a program that imports a package touches neighbouring pages.
//!
//! The result depends on the order of `blobs` and on their bytes alone, not on hashes or threads.

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use rayon::prelude::*;

use crate::blob::Store;
use crate::split::Blob;

/// Where a blob goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Bytes from the start of its section.
    pub offset: u64,
    /// Whether its bytes are laid out for it, rather than found in another's.
    pub fresh: bool,
}

/// What became of all blobs, with the bytes saved on the way: each blob counted with its NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Blobs cut out, and their bytes.
    pub cut: Count,
    /// Distinct ones.
    pub distinct: Count,
    /// Those left after tail merging: what the section holds.
    pub stored: Count,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        for (sum, part) in
            [(&mut self.cut, other.cut), (&mut self.distinct, other.distinct), (&mut self.stored, other.stored)]
        {
            sum.blobs += part.blobs;
            sum.bytes += part.bytes;
        }
    }
}

/// A number of blobs and of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// Blobs.
    pub blobs: u64,
    /// Bytes, a NUL a blob included.
    pub bytes: u64,
}

impl Count {
    /// Adds one blob of `bytes`.
    pub fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// All placements, in the order of the blobs, and the totals of each section.
#[derive(Debug)]
pub struct Merged {
    /// One for each blob.
    pub placements: Vec<Placement>,
    /// By [`Store`]; `stored.bytes` is the section's size.
    pub totals: [Totals; Store::ALL.len()],
}

/// Sets the hashes of `blobs`, whose bytes stand in `data`. They are seeded anew in each process: nobody can make files whose blobs
/// all collide, and nothing that is written depends on them.
pub fn hash(blobs: &mut [Blob], data: &[u8]) {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    for blob in blobs {
        blob.hash = SEED.hash_one(&data[blob.data as usize..][..blob.len as usize]);
    }
}

/// Fewer blobs than this are not worth waking other threads for: a package of one module.
const PARALLEL: usize = 1 << 14;

/// Merges `blobs`, whose bytes stand in `data` and whose hashes are set.
pub fn merge(blobs: &[Blob], data: &[u8]) -> Merged {
    let bytes = |index: u32| {
        let blob = &blobs[index as usize];
        &data[blob.data as usize..][..blob.len as usize]
    };
    let mut totals = [Totals::default(); Store::ALL.len()];
    // After this: `root[i]` is the first blob equal to blob i.
    let mut root = deduplicate(blobs, &bytes);
    let mut distinct: [Vec<Tail>; Store::ALL.len()] = Default::default();
    for (index, blob) in blobs.iter().enumerate() {
        let store = blob.kind.store();
        let size = u64::from(blob.len) + store.width() as u64;
        totals[store as usize].cut.add(size);
        if root[index] == index as u32 {
            totals[store as usize].distinct.add(size);
            distinct[store as usize].push(Tail { key: last_eight(bytes(index as u32)), index: index as u32 });
        }
    }
    // After this: `root[i]` of a first blob is the one it is the tail of, or itself.
    for tails in &mut distinct {
        merge_tails(tails, &bytes, &mut root);
    }
    // After this: every root has an offset, in order of first use.
    let mut placements = vec![Placement { offset: 0, fresh: false }; blobs.len()];
    for (index, blob) in blobs.iter().enumerate() {
        if root[index] == index as u32 {
            let store = blob.kind.store();
            let stored = &mut totals[store as usize].stored;
            placements[index] = Placement { offset: stored.bytes, fresh: true };
            stored.add(u64::from(blob.len) + store.width() as u64);
        }
    }
    // After this: every blob has one. Two steps lead to a root: to the equal blob, then to the one it is the tail of.
    for (index, blob) in blobs.iter().enumerate() {
        let holder = root[root[index] as usize] as usize;
        if holder != index {
            placements[index].offset = placements[holder].offset + u64::from(blobs[holder].len - blob.len);
        }
    }
    Merged { placements, totals }
}

/// For each blob the index of the first one in the same section with the same bytes.
fn deduplicate<'a>(blobs: &[Blob], bytes: &(impl Fn(u32) -> &'a [u8] + Sync)) -> Vec<u32> {
    const SHARDS: usize = 64;
    let first_of = |indices: &mut dyn Iterator<Item = u32>, len: usize| {
        let mut table: HashTable<u32> = HashTable::with_capacity(len);
        let mut firsts = Vec::with_capacity(len);
        for index in indices {
            let blob = &blobs[index as usize];
            let equal = |other: &u32| {
                let o = &blobs[*other as usize];
                o.hash == blob.hash
                    && o.len == blob.len
                    && o.kind.store() == blob.kind.store()
                    && bytes(*other) == bytes(index)
            };
            let entry = table.entry(blob.hash, equal, |other| blobs[*other as usize].hash).or_insert(index);
            firsts.push(*entry.get());
        }
        firsts
    };
    if blobs.len() < PARALLEL {
        return first_of(&mut (0..blobs.len() as u32), blobs.len());
    }
    // Equal blobs share a hash and so a shard. The table uses other bits of the hash than these.
    let shard = |blob: &Blob| (blob.hash >> 32) as usize % SHARDS;
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); SHARDS];
    for (index, blob) in blobs.iter().enumerate() {
        members[shard(blob)].push(index as u32);
    }
    let firsts: Vec<Vec<u32>> = members.par_iter().map(|m| first_of(&mut m.iter().copied(), m.len())).collect();
    let mut root = vec![0; blobs.len()];
    for (members, firsts) in members.iter().zip(&firsts) {
        for (index, first) in members.iter().zip(firsts) {
            root[*index as usize] = *first;
        }
    }
    root
}

/// A distinct blob with the key it is first sorted by.
#[derive(Clone, Copy)]
struct Tail {
    key: u64,
    index: u32,
}

/// The last eight bytes, the last one most significant; shorter blobs padded with zeros.
fn last_eight(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = bytes.len().min(8);
    word[8 - len..].copy_from_slice(&bytes[bytes.len() - len..]);
    u64::from_le_bytes(word)
}

/// Compares from the last byte to the first; a tail is less than what it is the tail of.
fn compare_reversed(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while let (Some((ra, wa)), Some((rb, wb))) = (a.split_last_chunk::<8>(), b.split_last_chunk::<8>()) {
        match u64::from_le_bytes(*wa).cmp(&u64::from_le_bytes(*wb)) {
            Ordering::Equal => (a, b) = (ra, rb),
            unequal => return unequal,
        }
    }
    a.iter().rev().cmp(b.iter().rev())
}

/// Points each blob that is the tail of another at the longest such. All are distinct.
fn merge_tails<'a>(tails: &mut [Tail], bytes: &(impl Fn(u32) -> &'a [u8] + Sync), root: &mut [u32]) {
    let descending =
        |a: &Tail, b: &Tail| b.key.cmp(&a.key).then_with(|| compare_reversed(bytes(b.index), bytes(a.index)));
    if tails.len() < PARALLEL {
        tails.sort_unstable_by(descending);
    } else {
        tails.par_sort_unstable_by(descending);
    }
    // In this order all blobs that end in x stand in one run right before x: the one before it decides.
    for pair in 1..tails.len() {
        let (previous, this) = (tails[pair - 1].index, tails[pair].index);
        if bytes(previous).ends_with(bytes(this)) {
            root[this as usize] = root[previous as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::Kind;
    use proptest::prelude::*;

    /// Blobs of `kind` over one buffer, with honest or with colliding hashes.
    fn lay(contents: &[Vec<u8>], kind: Kind, collide: bool) -> (Vec<Blob>, Vec<u8>) {
        let mut data = Vec::new();
        let blobs = contents
            .iter()
            .map(|content| {
                let hash =
                    if collide { 7 } else { u64::from(crc32fast::hash(content)).wrapping_mul(0x9e37_79b9_7f4a_7c15) };
                let at = data.len();
                data.extend_from_slice(content);
                let len = content.len() as u32;
                Blob { hash, data: at as u64, len, table: 0, kind }
            })
            .collect();
        (blobs, data)
    }

    /// The section as the writer lays it out.
    fn section(blobs: &[Blob], data: &[u8], merged: &Merged, width: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for (blob, placement) in blobs.iter().zip(&merged.placements).filter(|(_, p)| p.fresh) {
            assert_eq!(placement.offset, out.len() as u64, "fresh blobs follow one another");
            out.extend_from_slice(&data[blob.data as usize..][..blob.len as usize]);
            out.extend(std::iter::repeat_n(0, width));
        }
        out
    }

    fn holds(contents: &[Vec<u8>], kind: Kind, collide: bool) {
        let (blobs, data) = lay(contents, kind, collide);
        let merged = merge(&blobs, &data);
        let width = kind.store().width();
        let out = section(&blobs, &data, &merged, width);
        assert_eq!(out.len() as u64, merged.totals[kind.store() as usize].stored.bytes);
        for (content, placement) in contents.iter().zip(&merged.placements) {
            let at = placement.offset as usize;
            assert_eq!(at % width, 0, "aligned");
            assert_eq!(&out[at..at + content.len()], content);
            assert!(out[at + content.len()..at + content.len() + width].iter().all(|b| *b == 0));
        }
        // Nothing stored is a tail of something else stored.
        let fresh: Vec<_> = contents.iter().zip(&merged.placements).filter(|(_, p)| p.fresh).map(|(c, _)| c).collect();
        for (i, a) in fresh.iter().enumerate() {
            for (j, b) in fresh.iter().enumerate() {
                assert!(i == j || !b.ends_with(a), "{a:?} could share with {b:?}");
            }
        }
    }

    #[test]
    fn tails_of_tails_and_duplicates_share_one_place() {
        let contents: Vec<Vec<u8>> =
            ["world", "hello world", "world", "d", "say hello world", "hello world", ""].map(|s| s.into()).into();
        let (blobs, data) = lay(&contents, Kind::Ascii, false);
        let merged = merge(&blobs, &data);
        assert_eq!(section(&blobs, &data, &merged, 1), b"say hello world\0");
        let totals = merged.totals[Store::Str1 as usize];
        assert_eq!((totals.cut.blobs, totals.distinct.blobs, totals.stored.blobs), (7, 5, 1));
    }

    #[test]
    fn many_blobs_take_the_parallel_way_to_the_same_result() {
        let contents: Vec<Vec<u8>> = (0..40_000u32).map(|i| (i % 30_000).to_string().into_bytes()).collect();
        let (blobs, data) = lay(&contents, Kind::Bytes, false);
        let parallel = merge(&blobs, &data);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| merge(&blobs, &data)).placements, parallel.placements);
        let out = section(&blobs, &data, &parallel, 1);
        for (content, placement) in contents.iter().zip(&parallel.placements) {
            assert!(out[placement.offset as usize..].starts_with(content));
        }
    }

    proptest! {
        #[test]
        fn every_blob_is_found_where_it_was_placed(
            contents in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..12), 0..40),
            collide: bool,
        ) {
            holds(&contents, Kind::Ascii, collide);
            let wide: Vec<Vec<u8>> = contents.iter().map(|c| c.iter().flat_map(|b| [*b, 1]).collect()).collect();
            holds(&wide, Kind::Ucs2, collide);
        }
    }
}
