//! `.pyc → .pye → .pyc`, and the same through one package of everything: every byte and every name comes back.

mod common;

use std::fs;
use std::path::Path;

use common::objects::{Encoder, node};
use common::tool::{self, Const, assert_same_modules, assert_same_pycs, good, paths};
use proptest::prelude::*;
use pye::convert::{Converter, Options};
use pye::marshal::version::{VERSIONS, Version};
use pye::pye::read::Pye;
use pye::split::DEFAULT_MIN_BLOB;
use rayon::prelude::*;

/// A tree of all `.pyc` files to test with: for each interpreter `X.Y/stdlib`, and a few packages compiled in each way that version
/// knows, `X.Y/checked-hash` and so on.
fn trees(root: &Path) {
    common::pythons().par_iter().for_each(|python| {
        let name = python.name();
        let library = common::compiled_stdlib(python);
        let link = |from: &Path, to: &Path| {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            // Linked where that can be, since there are hundreds of megabytes.
            fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).unwrap();
        };
        for file in common::pycs(&library) {
            link(&file, &root.join(&name).join("stdlib").join(file.strip_prefix(&library).unwrap()));
        }
        let directory = tempfile::tempdir().unwrap();
        let variants = common::compile_variants(python, &["json", "email", "abc.py"], directory.path());
        assert!(variants.len() >= if python.at_least(3, 7) { 6 } else { 4 });
        for variant in variants {
            for file in common::pycs(&variant.dir) {
                let relative = file.strip_prefix(&variant.dir).unwrap();
                link(&file, &root.join(&name).join(variant.name).join(relative));
            }
        }
    });
}

#[test]
fn every_tree_comes_back_from_files_and_from_one_package() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let tree = at("tree");
    trees(&tree);
    let files = paths(&tree, &["pyc", "pyo"]).len() as u64;
    // The smallest packaging of a standard library known has 600 modules.
    assert!(files > 600 * common::pythons().len() as u64);

    for python in common::pythons() {
        let name = python.name();
        let one = tree.join(&name);
        let count = paths(&one, &["pyc", "pyo"]).len() as u64;
        let (pye, back) = (at("pye").join(&name), at("back").join(&name));
        let report = good(&[&"convert", &one, &"--output", &pye]);
        assert_eq!((&report["converted"], &report["files"]), (&count.into(), &count.into()), "Python {name}");
        assert_eq!(paths(&pye, &[]).len() as u64, count);
        let report = good(&[&"verify", &pye, &"--against", &one]);
        assert_eq!((&report["same_as_pyc"], &report["raw"]), (&count.into(), &0.into()), "Python {name}: {report}");
        let report = good(&[&"unpack", &pye, &"--output", &back]);
        assert_eq!(report["written"], count, "Python {name}");
        assert_same_pycs(&back, &one);
        let again = good(&[&"convert", &one, &"--output", &pye]);
        assert_eq!(again["up_to_date"], count, "Python {name}: {again}");
        fs::remove_dir_all(back).unwrap();
    }

    let package = at("all.pye");
    let report = good(&[&"link", &tree, &"--output", &package]);
    assert_eq!(report["packages"][0]["modules"], files);
    let report = good(&[&"verify", &package, &"--against", &tree]);
    assert_eq!((&report["same_as_pyc"], &report["modules"]), (&files.into(), &files.into()));
    good(&[&"unpack", &package, &"--output", &at("whole")]);
    assert_same_pycs(&at("whole"), &tree);

    // From the .pye files, which lie in the same places, comes the same package.
    let again = at("again.pye");
    good(&[&"link", &at("pye"), &"--output", &again]);
    assert_same_modules(&again, &package);
}

/// Converts, opens, joins both ways, and compares.
fn round(converter: &mut Converter, pyc: &[u8], name: &[u8], options: Options) -> Result<bool, String> {
    let (file, raw) = converter.convert_bytes(pyc, name, options).map_err(|e| e.to_string())?;
    let raw = raw.is_some();
    let pye = Pye::open(file).map_err(|e| e.to_string())?;
    let module = pye.module(0).map_err(|e| e.to_string())?;
    if module.path != name || pye.len() != 1 {
        return Err(format!("{:?} became {:?}", name, module.path));
    }
    let mut joined = vec![0xaa; 7];
    pye.join_into(&module, &mut joined).map_err(|e| e.to_string())?;
    let mut streamed = Vec::new();
    pye.join(&module, &mut streamed).map_err(|e| e.to_string())?;
    if joined != pyc || streamed != pyc {
        return Err("joined to other bytes".into());
    }
    Ok(raw)
}

#[test]
fn every_file_comes_back_whatever_the_threshold() {
    for python in common::pythons() {
        let files = common::pycs(&common::compiled_stdlib(python));
        files.par_iter().for_each_init(Converter::default, |converter, path| {
            let pyc = fs::read(path).unwrap();
            for min_blob in [1, 16, DEFAULT_MIN_BLOB, 4096] {
                let options = Options { min_blob, min_bytes: 0, python_version: None };
                let raw = round(converter, &pyc, path.file_name().unwrap().as_encoded_bytes(), options);
                assert_eq!(raw, Ok(false), "{} split at {min_blob}", path.display());
            }
        });
    }
}

/// As [`round`], and the whole file is verified.
fn law(pyc: &[u8], options: Options) -> Result<bool, TestCaseError> {
    let mut converter = Converter::default();
    let raw = round(&mut converter, pyc, b"m.pyc", options).map_err(TestCaseError::fail)?;
    let (file, _) = converter.convert_bytes(pyc, b"m.pyc", options).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let verified = Pye::open(file).and_then(|p| p.verify());
    verified.map_err(|e| TestCaseError::fail(e.to_string()))?;
    Ok(raw)
}

/// A header of that version.
fn header(version: &Version, word: [u8; 8]) -> Vec<u8> {
    let mut header = version.magic_bytes().to_vec();
    if version.header_len == 16 {
        header.extend([0; 4]);
    }
    header.extend(&word[..version.header_len - header.len()]);
    header
}

proptest! {
    #[test]
    fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..300), min_blob in 1u32..64) {
        law(&bytes, Options { min_blob, min_bytes: 0, python_version: None })?;
        for version in &VERSIONS {
            law(&bytes, Options { min_blob, min_bytes: 0, python_version: Some(version) })?;
        }
    }

    #[test]
    fn any_objects_come_back(
        root in node(),
        trailer in prop::collection::vec(any::<u8>(), 0..40),
        word: [u8; 8],
        min_blob in prop::sample::select(&[1u32, 2, 3, 16, 32, 300][..]),
    ) {
        for version in &VERSIONS {
            let objects = Encoder::encode(version, &root).out;
            let pyc = [header(version, word), objects, trailer.clone()].concat();
            prop_assert!(!law(&pyc, Options { min_blob, min_bytes: 0, python_version: None })?, "Python {}: kept raw", version);
        }
    }

    /// Text of every width, at and around the threshold, as every type that holds text.
    #[test]
    fn any_text_comes_back(text: String, min_blob in 1u32..32, code in prop::sample::select(&b"ustaAzZ"[..])) {
        for version in VERSIONS.iter().filter(|v| v.major == 3) {
            let bytes = text.as_bytes();
            let object = match code {
                b'z' | b'Z' => [&[code, bytes.len().min(255) as u8][..], &bytes[..bytes.len().min(255)]].concat(),
                _ => [&[code][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat(),
            };
            let twice = [&b"(\x02\0\0\0"[..], &object, &object].concat();
            let pyc = [header(version, [1; 8]), twice].concat();
            prop_assert!(!law(&pyc, Options { min_blob, min_bytes: 0, python_version: None })?, "kept raw");
        }
    }
}

#[test]
fn a_module_made_of_one_string_over_and_over_is_kept_uncut() {
    // 40 MB of it: as blobs a file of a megabyte would claim them, which readers refuse.
    let text = "x".repeat(1 << 20);
    let constants: Vec<Const> = (0..40).map(|_| Const::Text(text.clone())).collect();
    let pyc = tool::pyc((3, 12), &constants);
    let file = tool::converted(&pyc, "m.pyc");
    let pye = Pye::open(&file).unwrap();
    pye.verify().unwrap();
    let mut joined = Vec::new();
    pye.join_into(&pye.module(0).unwrap(), &mut joined).unwrap();
    assert!(joined == pyc);
    assert!(file.len() > pyc.len());
}
