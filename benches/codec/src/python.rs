//! CPython's own reader: a child that loads the files once and then runs a timed round each time it is told to.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::corpus::File;

const SCRIPT: &str = include_str!("loads.py");

/// Prints the version, the compiler, and which of the configure options that bear on speed were given. A distribution may optimise by other means, which leave
/// no trace here.
const VERSION: &str = "
import platform, sysconfig
given = str(sysconfig.get_config_var('CONFIG_ARGS'))
options = [o for o in ('--enable-optimizations', '--with-lto', '--enable-shared', '--with-pydebug') if o in given]
print(platform.python_implementation(), platform.python_version() + ',', platform.python_compiler() + ',',
      'configured with', ' '.join(options) or 'none of the options that bear on speed')
";

/// The child; it ends when its standard input is closed, so with this value.
pub(crate) struct Python {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The interpreter's version and how it was built.
    pub(crate) version: String,
}

/// Seconds of one round.
pub(crate) struct Round {
    /// All of it.
    pub(crate) seconds: f64,
    /// What of it the results' end took.
    pub(crate) freeing: f64,
}

impl Python {
    /// Starts `interpreter`, has it read the files, and checks that these are the ones in memory and are for it.
    pub(crate) fn start(interpreter: &Path, files: &[File]) -> Result<Python> {
        let named = || format!("{}", interpreter.display());
        let version = Command::new(interpreter)
            .args(["-I", "-c", VERSION])
            .output()
            .with_context(|| format!("cannot run {}; --python names another", named()))?;
        ensure!(version.status.success(), "{} is no Python 3", named());
        let mut child = Command::new(interpreter)
            .args(["-I", "-S", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", named()))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipes") };
        let version = String::from_utf8_lossy(&version.stdout).trim().to_string();
        let mut python = Python { child, stdin: Some(stdin), stdout: BufReader::new(stdout), version };

        let mut paths = Vec::new();
        for file in files {
            paths.extend_from_slice(file.path.as_os_str().as_bytes());
            paths.push(0);
        }
        let mut list = format!("{}\n", paths.len()).into_bytes();
        list.extend_from_slice(&paths);
        python.tell(&list)?;

        let line = python.line()?;
        let magic: String = files[0].bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let mut crc = crc32fast::Hasher::new();
        let mut bytes = 0;
        for file in files {
            ensure!(
                file.bytes[..4.min(file.bytes.len())] == files[0].bytes[..4],
                "{}: of another Python than {}: the corpus must be of one",
                file.path.display(),
                files[0].path.display()
            );
            crc.update(&file.bytes);
            bytes += file.bytes.len();
        }
        let expected = format!("{magic} {} {bytes} {}", files.len(), crc.finalize());
        ensure!(
            line.starts_with(&magic),
            "{} ({}) writes .pyc files that begin with {}, these begin with {magic}: --python names the interpreter",
            named(),
            python.version,
            line.split(' ').next().unwrap_or("nothing")
        );
        ensure!(line == expected, "{}: read other files: expected {expected:?}, got {line:?}", named());
        python.tell(b".")?;
        Ok(python)
    }

    /// Runs one round.
    pub(crate) fn round(&mut self) -> Result<Round> {
        self.tell(b".")?;
        let line = self.line()?;
        let mut numbers = line.split(' ').map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(seconds)), Some(Ok(freeing))) => Ok(Round { seconds, freeing }),
            _ => bail!("Python: expected two numbers, got {line:?}"),
        }
    }

    fn tell(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("Python has ended")?;
        stdin.write_all(bytes).and_then(|()| stdin.flush()).context("cannot write to Python")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("cannot read from Python")?;
        if line.is_empty() {
            bail!("Python ended: {}", self.child.wait()?);
        }
        Ok(line.trim_end().to_string())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.stdin = None;
        // Its end is all that is waited for: freeing what it holds takes a moment.
        let _ = self.child.wait();
    }
}
