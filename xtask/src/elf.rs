//! Whether a handler can run on the platform: an executable for linux-x64 that needs no library.
//!
//! What the workers have installed is not documented, so nothing is asked of them.

/// Program header of a file that names the loader of its libraries.
const INTERPRETER: u32 = 3;

/// Checks a handler.
///
/// # Errors
/// What is wrong with it.
pub fn check(file: &[u8]) -> Result<(), &'static str> {
    if file.get(..4) != Some(b"\x7fELF") {
        return Err("the handler is no ELF executable");
    }
    let machine = number::<2>(file, 18);
    if file.get(4..6) != Some(&[2, 1]) || machine != Some(62) {
        return Err("the handler is not for linux-x64");
    }
    let headers = number::<8>(file, 32).zip(number::<2>(file, 54)).zip(number::<2>(file, 56));
    let Some(((start, size), count)) = headers else { return Err("the handler is cut off") };
    for index in 0..count {
        let at = start.checked_add(index * size).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| number::<4>(file, at)) {
            Some(kind) if kind == u64::from(INTERPRETER) => {
                return Err("the handler is linked dynamically: it would need the libraries of this machine");
            }
            Some(_) => {}
            None => return Err("the handler is cut off"),
        }
    }
    Ok(())
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(file: &[u8], at: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(N)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with program headers of these kinds.
    fn elf(machine: u8, kinds: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + kinds.len() * 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = machine;
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(kinds.len()).unwrap();
        for (index, kind) in kinds.iter().enumerate() {
            file[64 + index * 56] = *kind;
        }
        file
    }

    #[test]
    fn a_static_executable_for_x64_is_good() {
        assert_eq!(check(&elf(62, &[1, 1, 2, 6])), Ok(()));
    }

    #[test]
    fn what_could_not_start_on_the_platform_is_refused() {
        assert!(check(b"#!/bin/sh").unwrap_err().contains("no ELF"));
        assert!(check(&elf(183, &[1])).unwrap_err().contains("linux-x64"));
        assert!(check(&elf(62, &[1, 3, 1])).unwrap_err().contains("dynamically"));
        assert!(check(&elf(62, &[1, 1])[..100]).unwrap_err().contains("cut off"));
    }

    #[cfg(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_env = "gnu",
        not(target_feature = "crt-static")
    ))]
    #[test]
    fn this_very_test_is_linked_dynamically_and_refused() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(check(&own).unwrap_err().contains("dynamically"));
    }
}
