//! The header and `abi` describe the same bytes, to a C compiler and to a C++ compiler.

use std::fmt::Write;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// All that the headers declare.
mod abi {
    pub(crate) use hearthd_sdk::abi::children::*;
    pub(crate) use hearthd_sdk::abi::mqtt::*;
    pub(crate) use hearthd_sdk::abi::*;
}

/// One line for each struct, field and constant, and the C statement that prints the same line.
#[derive(Default)]
struct Facts {
    rust: String,
    c: String,
}

impl Facts {
    fn add(&mut self, name: &str, values: &[(&str, i128)]) {
        write!(self.rust, "{name}").expect("a String");
        writeln!(self.c, "  printf(\"{name}\");").expect("a String");
        for (expression, value) in values {
            write!(self.rust, " {value}").expect("a String");
            writeln!(self.c, "  printf(\" %lld\", (long long)({expression}));").expect("a String");
        }
        self.rust.push('\n');
        self.c.push_str("  printf(\"\\n\");\n");
    }
}

fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! structs {
    ($facts:ident; $($rust:ident = $c:ident { $($field:ident),+ $(,)? })+) => {$(
        let sizeof = concat!("sizeof(", stringify!($c), ")");
        $facts.add(stringify!($c), &[(sizeof, size_of::<abi::$rust>() as i128)]);
        $(
            let name = concat!(stringify!($c), ".", stringify!($field));
            let offset = concat!("offsetof(", stringify!($c), ", ", stringify!($field), ")");
            let size = concat!("sizeof(((", stringify!($c), " *)0)->", stringify!($field), ")");
            $facts.add(name, &[
                (offset, offset_of!(abi::$rust, $field) as i128),
                (size, size_of_field(|value: &abi::$rust| &value.$field) as i128),
            ]);
        )+
    )+};
}

macro_rules! constants {
    ($facts:ident; $($rust:ident = $c:ident),+ $(,)?) => {
        $($facts.add(stringify!($c), &[(stringify!($c), abi::$rust as i64 as i128)]);)+
    };
}

fn facts() -> Facts {
    let mut facts = Facts::default();
    structs! { facts;
        Slice = hearth_slice { ptr, len }
        Sink = hearth_sink { ctx, put }
        Host = hearth_host {
            struct_size, abi_minor, reserved, ctx, log, log_enabled, publish, complete, set_timer, wake, now_ms,
            get_extension,
        }
        CreateArgs = hearth_create_args {
            struct_size, reserved, host, device_id, config, saved_state, errors,
        }
        Command = hearth_command { struct_size, flags, token, deadline_ms, name, payload }
        Kind = hearth_kind {
            struct_size, reserved, name, config_schema, check_config, describe, create, destroy, on_command,
            on_timer, on_wake, on_absence, get_extension,
        }
        Prefix = hearth_prefix {
            magic, struct_size, abi_major, abi_minor, host_minor_min, reserved, flags, name, version, toolchain,
        }
        Entry = hearth_entry { prefix, init, kinds }
        ExtState = hearth_ext_state { struct_size, reserved, save }
        ExtReach = hearth_ext_reach { struct_size, reserved, unreachable, reachable }
        ExtEvent = hearth_ext_event { struct_size, reserved, event }
        ExtAccept = hearth_ext_accept { struct_size, reserved, accept }
        ExtSecret = hearth_ext_secret { struct_size, reserved, secrets }
        Publication = hearth_publication {
            struct_size, flags, token, command, expiry_ms, qos, reserved, topic, payload,
        }
        Message = hearth_message { struct_size, flags, topic, payload }
        HostMqtt = hearth_host_mqtt { struct_size, reserved, publish }
        KindMqtt = hearth_kind_mqtt { struct_size, reserved, topics, on_message, on_link, on_outcome }
        Child = hearth_child { struct_size, reserved, name, kind, title, room, properties, errors }
        HostChildren = hearth_host_children { struct_size, reserved, add, remove, list }
        KindChildren = hearth_kind_children {
            struct_size, reserved, may_add, on_command, on_timer, on_wake, on_refused,
        }
    }
    constants! { facts;
        ABI_MAJOR = HEARTH_ABI_MAJOR, ABI_MINOR = HEARTH_ABI_MINOR,
        OK = HEARTH_OK, PENDING = HEARTH_PENDING, ERR_FAILED = HEARTH_ERR_FAILED,
        ERR_INVALID = HEARTH_ERR_INVALID, ERR_UNSUPPORTED = HEARTH_ERR_UNSUPPORTED,
        ERR_BUSY = HEARTH_ERR_BUSY, ERR_GONE = HEARTH_ERR_GONE, ERR_TOO_LARGE = HEARTH_ERR_TOO_LARGE,
        ERR_PANIC = HEARTH_ERR_PANIC, ERR_UNREACHABLE = HEARTH_ERR_UNREACHABLE,
        ERR_INDETERMINATE = HEARTH_ERR_INDETERMINATE, LOG_ERROR = HEARTH_LOG_ERROR, LOG_WARN = HEARTH_LOG_WARN,
        LOG_INFO = HEARTH_LOG_INFO, LOG_DEBUG = HEARTH_LOG_DEBUG, LOG_TRACE = HEARTH_LOG_TRACE,
        FLAG_PANIC_ABORT = HEARTH_FLAG_PANIC_ABORT, COMMAND_SET = HEARTH_COMMAND_SET,
        TIMER_CANCEL = HEARTH_TIMER_CANCEL, PUBLISH_RETAIN = HEARTH_PUBLISH_RETAIN,
        PUBLISH_EXPECT_REPLY = HEARTH_PUBLISH_EXPECT_REPLY, MESSAGE_RETAINED = HEARTH_MESSAGE_RETAINED,
    }
    facts
}

/// Compiles a program with the header, without a warning, and returns what it prints.
fn printed(compiler: &str, standard: &str, body: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, program) = (dir.path().join("layout.c"), dir.path().join("layout"));
    // An entry defined by the header's own macros proves that these compile, too.
    let text = format!(
        "#include \"hearth_mqtt.h\"\n#include \"hearth_children.h\"\n#include <stdio.h>\n\
         static const hearth_kind *const kinds[] = {{ NULL }};\n\
         const hearth_entry hearth_plugin_entry_v1 = {{ HEARTH_PREFIX(\"probe\", \"1.0\"), NULL, kinds }};\n\
         static const hearth_slice state = HEARTH_S(HEARTH_EXT_STATE);\n\
         static const hearth_slice mqtt = HEARTH_S(HEARTH_EXT_MQTT);\n\
         static const hearth_slice children = HEARTH_S(HEARTH_EXT_CHILDREN);\n\
         int main(void) {{\n{body}  printf(\"%s %d\\n\", (const char *)state.ptr, (int)state.len);\n\
         printf(\"%s %d\\n\", (const char *)mqtt.ptr, (int)mqtt.len);\n\
         printf(\"%s %d\\n\", (const char *)children.ptr, (int)children.len);\n  return 0;\n}}\n"
    );
    std::fs::write(&source, text).expect("write the program");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let language = if compiler == "cc" { "c" } else { "c++" };
    let compiled = Command::new(compiler)
        .args(["-x", language, standard, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
        .arg(include)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output()
        .unwrap_or_else(|error| panic!("this test needs `{compiler}` (Debian: g++): {error}"));
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{compiler} {standard}: {said}");
    let run = Command::new(&program).output().expect("run the program");
    String::from_utf8(run.stdout).expect("ASCII")
}

fn expected(facts: &Facts) -> String {
    let names = [abi::EXT_STATE, abi::EXT_MQTT, abi::EXT_CHILDREN];
    let lines = names.map(|name| format!("{name} {}\n", name.len()));
    format!("{}{}", facts.rust, lines.concat())
}

#[test]
fn the_header_in_c99_has_the_layout_of_abi() {
    let facts = facts();
    assert_eq!(printed("cc", "-std=c99", &facts.c), expected(&facts));
}

#[test]
fn the_header_in_cpp17_has_the_layout_of_abi() {
    let facts = facts();
    assert_eq!(printed("c++", "-std=c++17", &facts.c), expected(&facts));
}
