//! `codec merging`: the same strings merged by pye and by `ld.lld -r`.

use std::hash::BuildHasher;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use foldhash::fast::RandomState;
use object::elf;
use object::read::elf::ElfFile64;
use object::write::elf::{FileHeader, SectionHeader, Writer};
use object::{Endianness, Object, ObjectSection};
use pye::blob::Store;
use pye::merge;
use pye::split::{Blob, DEFAULT_MIN_BLOB, Split, Splitter};

use crate::Common;
use crate::corpus::File;
use crate::table::{Table, mb};

/// What merging saves, beside what `ld.lld -r -O2` saves on the same strings
///
/// All blobs of the corpus that have no NUL within (a linker cuts there), before any merging, as an SHF_MERGE|SHF_STRINGS section
/// for each character width, and one of the byte strings; alignment is that of a character.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,

    /// Shortest string that is cut out, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MIN_BLOB)]
    min_blob: u32,

    /// The linker
    #[arg(long, value_name = "FILE", default_value = "ld.lld")]
    linker: String,
}

const SECTION: &[u8] = b".strings";

pub(crate) fn run(options: &Options) -> Result<()> {
    let common = &options.common;
    let corpus = common.corpus()?;
    let version = Command::new(&options.linker)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {}: install lld, or name one by --linker", options.linker))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_string();
    let (blobs, data, left_out) = cut(&corpus.load(None)?, options.min_blob)?;
    let scratch = tempfile::Builder::new().prefix("codec-").tempdir()?;

    let mut table = Table::new(&[
        "strings",
        "blobs",
        "before",
        "lld -O1",
        "lld -O2",
        "pye exact",
        "pye exact + tails",
        "pye / lld -O2",
    ]);
    for store in Store::ALL {
        // Each section by itself: what pye's other sections hold must not count.
        let own: Vec<Blob> = blobs.iter().copied().filter(|b| b.kind.store() == store).collect();
        if own.is_empty() {
            continue;
        }
        let totals = merge::merge(&own, &data).totals[store as usize];
        let strings = strings(&own, &data, store.width());
        ensure!(strings.len() as u64 == totals.cut.bytes, "pye merged other strings than the linker is given");
        let linked = |level| link(&options.linker, level, &strings, store.width(), scratch.path());
        let (exact, tails) = (linked("-O1")?, linked("-O2")?);
        table.row(vec![
            store.section().into(),
            own.len().to_string(),
            mb(totals.cut.bytes),
            mb(exact),
            mb(tails),
            mb(totals.distinct.bytes),
            mb(totals.stored.bytes),
            format!("{:.4}", totals.stored.bytes as f64 / tails as f64),
        ]);
    }
    let more = [
        format!("corpus: {}; --min-blob {}", corpus.describe(), options.min_blob),
        format!("{left_out} of {} blobs left out: a NUL within", left_out + blobs.len()),
        format!("linker: {version}"),
    ];
    print!("{}{}", common.heading(&more), table.print(common.style()));
    Ok(())
}

/// The blobs of all files without a NUL character within, over one buffer; and the number of the others.
fn cut(files: &[File], min_blob: u32) -> Result<(Vec<Blob>, Vec<u8>, usize)> {
    let (mut splitter, mut parts) = (Splitter::default(), Split::default());
    let hasher = RandomState::default();
    let (mut blobs, mut data, mut left_out) = (Vec::new(), Vec::new(), 0);
    for file in files {
        splitter
            .split(&file.bytes, None, min_blob.into(), &mut parts)
            .with_context(|| file.path.display().to_string())?;
        for blob in &parts.blobs {
            let bytes = &parts.data[blob.data as usize..][..blob.len as usize];
            if bytes.chunks(blob.kind.store().width()).any(|c| c.iter().all(|b| *b == 0)) {
                left_out += 1;
                continue;
            }
            blobs.push(Blob { hash: hasher.hash_one(bytes), data: data.len() as u64, ..*blob });
            data.extend_from_slice(bytes);
        }
    }
    Ok((blobs, data, left_out))
}

/// The strings one after the other, each with its NUL.
fn strings(blobs: &[Blob], data: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for blob in blobs {
        out.extend_from_slice(&data[blob.data as usize..][..blob.len as usize]);
        out.extend(std::iter::repeat_n(0, width));
    }
    out
}

/// Bytes of the section after the linker has merged it.
fn link(linker: &str, level: &str, strings: &[u8], width: usize, scratch: &Path) -> Result<u64> {
    let (input, output) = (scratch.join("in.o"), scratch.join("out.o"));
    std::fs::write(&input, relocatable(strings, width as u64)?)?;
    let linked = Command::new(linker).args(["-r", level]).arg(&input).arg("-o").arg(&output).output()?;
    ensure!(linked.status.success(), "{linker}: {}: {}", linked.status, String::from_utf8_lossy(&linked.stderr));
    let bytes = std::fs::read(&output)?;
    let file = ElfFile64::<Endianness>::parse(&*bytes).context("what the linker wrote")?;
    let section = file.section_by_name_bytes(SECTION).context("the linker dropped the section")?;
    Ok(section.size())
}

/// A relocatable object with the strings in one mergeable section of characters of `width` bytes.
fn relocatable(strings: &[u8], width: u64) -> Result<Vec<u8>> {
    let machine = if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };
    let mut out = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut out);
    let name = writer.add_section_name(SECTION);
    writer.reserve_file_header();
    writer.reserve_section_index();
    let offset = writer.reserve(strings.len() as u64, width);
    let wrong = |e: object::write::Error| anyhow!("a file that ELF cannot represent: {e}");
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().map_err(wrong)?;
    writer.reserve_section_headers();
    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: machine,
        e_entry: 0,
        e_flags: Default::default(),
    };
    writer.write_file_header(&header).map_err(wrong)?;
    writer.pad_until(offset);
    writer.write(strings);
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_section_header(&SectionHeader {
        sh_name: writer.section_name_offset(Some(name)),
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SHF_ALLOC | elf::SHF_MERGE | elf::SHF_STRINGS,
        sh_addr: 0,
        sh_offset: offset,
        sh_size: strings.len() as u64,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: width,
        sh_entsize: width,
    });
    writer.write_shstrtab_section_header();
    Ok(out)
}
