//! Reads what a plugin file says about itself, before any code of it runs (L1).

use std::{fmt, io};

use hearthd_sdk::{
    abi::{self, Growing},
    export::BUILD,
};
use object::{
    Architecture, Object, ObjectSegment, ObjectSymbol,
    read::elf::{ElfFile, FileHeader},
};

/// The plain data at the front of a plugin's exported symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The compiler, for messages.
    pub toolchain: String,
    /// The ABI version that it was built for.
    pub abi: (u16, u16),
    /// The oldest minor version of the hub's ABI that it runs on.
    pub host_minor_min: u16,
    /// The flags of the ABI, such as [`abi::FLAG_PANIC_ABORT`].
    pub flags: u32,
    entry_size: u32,
    /// The hub's build that it says to belong to.
    build: Option<abi::Build>,
}

/// Why a file is not a plugin that runs here.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is no ELF file.
    #[error("not an ELF shared object: {0}")]
    NotElf(String),
    /// It is for another processor.
    #[error("built for {0}, and this is {this}", this = std::env::consts::ARCH)]
    Architecture(String),
    /// A part of it lies behind its end.
    #[error("truncated: a part of it ends at byte {end} of {size}")]
    Truncated {
        /// Where the part ends.
        end: u64,
        /// The size of the file.
        size: u64,
    },
    /// It exports no entry.
    #[error("not a plugin: it does not export `{symbol}`", symbol = abi::ENTRY_SYMBOL)]
    NoEntry,
    /// The entry is not inside the file, or does not start as it must.
    #[error("not a plugin: `{symbol}` does not start with the plugin magic", symbol = abi::ENTRY_SYMBOL)]
    Magic,
    /// Its entry is shorter than the ABI's ever was.
    #[error("its entry has {0} bytes, and in plugin ABI {major} has at least {is}",
            major = abi::ABI_MAJOR, is = abi::Entry::FIRST_SIZE)]
    Short(u32),
    /// It is for another major version of the ABI.
    #[error("built for plugin ABI {0}, and this hub has {major}", major = abi::ABI_MAJOR)]
    Major(u16),
    /// It needs a newer hub.
    #[error("needs plugin ABI {major}.{0}, and this hub has {major}.{minor}",
            major = abi::ABI_MAJOR, minor = abi::ABI_MINOR)]
    TooNew(u16),
}

impl Identity {
    /// Reads the identity of a file's content, and checks that it may be loaded here.
    ///
    /// # Errors
    /// Where the file is not a plugin that runs here.
    pub fn parse(data: &[u8]) -> Result<Self, IdentityError> {
        let identity = Self::claimed(data)?;
        identity.accept()?;
        Ok(identity)
    }

    /// Reads what a plugin for this machine says about itself, whether or not it may be loaded.
    ///
    /// # Errors
    /// Where the file is no plugin, or none for this machine and this major version of the ABI.
    pub fn claimed(data: &[u8]) -> Result<Self, IdentityError> {
        let bits =
            data.get(..5).filter(|start| start.starts_with(b"\x7fELF")).map(|start| start[4]);
        match bits {
            Some(1) => parse_elf::<object::elf::FileHeader32<object::Endianness>>(data),
            Some(2) => parse_elf::<object::elf::FileHeader64<object::Endianness>>(data),
            Some(_) => Err(IdentityError::NotElf("it is neither 32 nor 64 bits wide".into())),
            None => Err(IdentityError::NotElf("it does not start with the ELF magic".into())),
        }
    }

    /// Checks that it may be loaded here.
    ///
    /// # Errors
    /// Where it may not.
    pub fn accept(&self) -> Result<(), IdentityError> {
        if self.host_minor_min > abi::ABI_MINOR {
            return Err(IdentityError::TooNew(self.host_minor_min));
        }
        if (self.entry_size as usize) < abi::Entry::FIRST_SIZE {
            return Err(IdentityError::Short(self.entry_size));
        }
        Ok(())
    }

    /// Returns whether it was built with this hub.
    pub(crate) fn is_own_build(&self) -> bool {
        self.build.is_some_and(|build| build == BUILD && build[0] != 0)
    }

    /// Returns whether a panic in it ends the process that it runs in.
    pub(crate) fn panic_aborts(&self) -> bool {
        self.flags & abi::FLAG_PANIC_ABORT != 0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, toolchain, abi: (major, minor), .. } = self;
        write!(f, "plugin {name} {version}, plugin ABI {major}.{minor}, built by {toolchain}")?;
        if self.panic_aborts() { f.write_str(" with panic=abort") } else { Ok(()) }
    }
}

fn parse_elf<H: FileHeader<Endian = object::Endianness>>(
    data: &[u8],
) -> Result<Identity, IdentityError> {
    let size = data.len() as u64;
    let end = end_of_tables::<H>(data)?;
    if end > size {
        return Err(IdentityError::Truncated { end, size });
    }
    let file =
        ElfFile::<H>::parse(data).map_err(|error| IdentityError::NotElf(error.to_string()))?;
    if file.architecture() != HOST_ARCHITECTURE || file.is_64() != cfg!(target_pointer_width = "64")
    {
        return Err(IdentityError::Architecture(format!("{:?}", file.architecture())));
    }
    for segment in file.segments() {
        let (start, length) = segment.file_range();
        let end = start.saturating_add(length);
        if end > size {
            return Err(IdentityError::Truncated { end, size });
        }
    }
    let entry = address(&file, abi::ENTRY_SYMBOL).ok_or(IdentityError::NoEntry)?;
    let prefix = data_at(&file, entry, PREFIX_SIZE).ok_or(IdentityError::Magic)?;
    let build = address(&file, abi::BUILD_SYMBOL)
        .and_then(|at| data_at(&file, at, size_of::<abi::Build>())?.try_into().ok());
    Ok(Identity { build, ..parse_prefix(prefix)? })
}

fn address<H: FileHeader<Endian = object::Endianness>>(
    file: &ElfFile<'_, H>,
    name: &str,
) -> Option<u64> {
    let mut symbols = file.dynamic_symbols();
    let symbol = symbols.find(|symbol| symbol.is_definition() && symbol.name() == Ok(name));
    symbol.map(|symbol| symbol.address())
}

fn data_at<'d, H: FileHeader<Endian = object::Endianness>>(
    file: &ElfFile<'d, H>,
    address: u64,
    size: usize,
) -> Option<&'d [u8]> {
    file.segments().find_map(|segment| segment.data_range(address, size as u64).ok().flatten())
}

/// Returns where the header, or the last of the tables that it names, ends.
fn end_of_tables<H: FileHeader<Endian = object::Endianness>>(
    data: &[u8],
) -> Result<u64, IdentityError> {
    if data.len() < size_of::<H>() {
        return Ok(size_of::<H>() as u64);
    }
    let not_elf = |error: object::Error| IdentityError::NotElf(error.to_string());
    let header = H::parse(data).map_err(not_elf)?;
    let endian = header.endian().map_err(not_elf)?;
    let segments = u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let end = |offset: H::Word, length: u64| offset.into().saturating_add(length);
    Ok(end(header.e_phoff(endian), segments).max(end(header.e_shoff(endian), sections)))
}

fn parse_prefix(prefix: &[u8]) -> Result<Identity, IdentityError> {
    let u16_at = |at: usize| u16::from_ne_bytes([prefix[at], prefix[at + 1]]);
    if prefix.len() < PREFIX_SIZE || prefix[..8] != abi::MAGIC {
        return Err(IdentityError::Magic);
    }
    let major = u16_at(12);
    if major != abi::ABI_MAJOR {
        return Err(IdentityError::Major(major));
    }
    let u32_at = |at: usize| {
        u32::from_ne_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    let text = |from: usize, to: usize| {
        let bytes = prefix[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    Ok(Identity {
        name: text(24, 56),
        version: text(56, 80),
        toolchain: text(80, 128),
        abi: (major, u16_at(14)),
        host_minor_min: u16_at(16),
        flags: u32_at(20),
        entry_size: u32_at(8),
        build: None,
    })
}

const PREFIX_SIZE: usize = size_of::<abi::Prefix>();

const HOST_ARCHITECTURE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else if cfg!(target_arch = "arm") {
    Architecture::Arm
} else if cfg!(target_arch = "riscv64") {
    Architecture::Riscv64
} else {
    Architecture::Unknown
};

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// This test's own binary: a real ELF file that is no plugin.
    fn own_binary() -> Vec<u8> {
        fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_text_file_is_no_plugin() {
        let error = Identity::parse(b"hello").unwrap_err().to_string();
        assert!(error.starts_with("not an ELF shared object"), "{error}");
    }

    #[test]
    fn an_elf_file_without_the_entry_is_no_plugin() {
        assert!(matches!(Identity::parse(&own_binary()), Err(IdentityError::NoEntry)));
    }

    #[test]
    fn a_truncated_file_is_refused_at_any_length() {
        let binary = own_binary();
        for parts in 0..200 {
            let cut = &binary[..binary.len() * parts / 200];
            assert!(Identity::parse(cut).is_err(), "{parts}/200");
        }
    }

    #[test]
    fn a_corrupted_file_never_panics() {
        let mut binary = own_binary();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let length = binary.len();
        for round in 0..400 {
            // xorshift64: the same bytes on every run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The headers decide most; half of the rounds hit them.
            let range = if round % 2 == 0 { 1024 } else { length };
            let at = usize::try_from(random % range as u64).unwrap();
            let kept = binary[at];
            binary[at] ^= u8::try_from(random >> 56).unwrap() | 1;
            let _ = Identity::parse(&binary);
            binary[at] = kept;
        }
    }

    #[test]
    fn another_architecture_is_named() {
        let mut binary = own_binary();
        binary[18] = 0x08; // EM_MIPS
        binary[19] = 0x00;
        let error = Identity::parse(&binary).unwrap_err().to_string();
        assert!(error.contains("Mips"), "{error}");
    }

    #[test]
    fn a_prefix_is_checked_field_by_field() {
        let accepted = |prefix: &[u8]| {
            let identity = parse_prefix(prefix)?;
            identity.accept().map(|()| identity)
        };
        let mut prefix = [0_u8; PREFIX_SIZE];
        assert!(matches!(accepted(&prefix), Err(IdentityError::Magic)));
        prefix[..8].copy_from_slice(&abi::MAGIC);
        assert!(matches!(accepted(&prefix), Err(IdentityError::Major(0))));
        prefix[12..14].copy_from_slice(&abi::ABI_MAJOR.to_ne_bytes());
        assert!(matches!(accepted(&prefix), Err(IdentityError::Short(0))));
        let size = u32::try_from(size_of::<abi::Entry>()).unwrap();
        prefix[8..12].copy_from_slice(&size.to_ne_bytes());
        prefix[24..28].copy_from_slice(b"lamp");
        assert_eq!(accepted(&prefix).unwrap().name, "lamp");
        prefix[16] = 9;
        assert!(matches!(accepted(&prefix), Err(IdentityError::TooNew(_))));
        prefix[16..18].fill(0);
        prefix[20..24].copy_from_slice(&abi::FLAG_PANIC_ABORT.to_ne_bytes());
        assert!(accepted(&prefix).unwrap().panic_aborts());
    }
}
