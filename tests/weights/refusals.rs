//! Files that are not read or written, and the words for it.

use std::fs;
use std::path::Path;

use mspipe::weights;

use super::checkpoint::{Strided, Value, archive, f32_bytes, of_class, pickle, save, whole};
use super::{file, some_weights};

/// Why `path` is refused, without its name.
fn refusal(path: &Path) -> String {
    let message = weights::read(path).unwrap_err().to_string();
    let name = format!("{}: ", path.display());
    message.strip_prefix(&name).expect(&message).to_owned()
}

#[test]
fn files_of_another_kind_are_refused() {
    let kind = "this is neither a safetensors file nor a PyTorch checkpoint: it";
    let (folder, path) = file("w.safetensors", b"user_id,item_id\n0,0\n");
    assert_eq!(
        refusal(&path),
        format!("{kind} begins with \"user_id,item_id\\n\"")
    );
    fs::write(&path, b"").unwrap();
    assert_eq!(refusal(&path), format!("{kind} is empty"));
    fs::write(&path, b"\x93NUMPY\x01\0").unwrap();
    assert_eq!(
        refusal(&path),
        format!(r#"{kind} begins with "\x93NUMPY\x01\x00""#)
    );
    assert_eq!(
        refusal(&folder.path().join("none")),
        "there is no such file"
    );
    let message = refusal(folder.path());
    assert!(message.starts_with("can't be read: "), "{message}");
}

#[test]
#[cfg(unix)]
fn a_pipe_is_refused_before_it_loses_its_head() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let message = refusal(&path);
    assert!(
        message.contains("it gives its bytes only once"),
        "{message}"
    );
}

/// Prefixes of a good file: refused, never a panic, never fewer tensors.
#[test]
fn cut_off_files_are_refused() {
    let (_folder, path) = file("w.safetensors", b"");
    weights::write(&path, &some_weights(), None).unwrap();
    let safetensors = fs::read(&path).unwrap();
    let root = Value::Dict(vec![("w", whole(0, &[2, 2], &[2, 1]))]);
    save(&path, &root, &[f32_bytes(&[1.0, 2.0, 3.0, 4.0])]);
    let checkpoint = fs::read(&path).unwrap();
    for whole in [&safetensors, &checkpoint] {
        for length in (0..whole.len()).step_by(5) {
            fs::write(&path, &whole[..length]).unwrap();
            refusal(&path);
        }
    }

    fs::write(&path, &safetensors[..safetensors.len() - 1]).unwrap();
    let length = safetensors.len() - 1;
    assert_eq!(
        refusal(&path),
        format!(
            "this safetensors file is damaged or cut off: its {length} bytes are not as many as \
             its header says; copy it again"
        )
    );
    fs::write(&path, &safetensors[..40]).unwrap();
    assert_eq!(
        refusal(&path),
        "this safetensors file is damaged or cut off: it ends within its header, after 40 \
         bytes; copy it again"
    );
    fs::write(&path, &checkpoint[..checkpoint.len() - 1]).unwrap();
    let message = refusal(&path);
    assert!(
        message.starts_with("this PyTorch checkpoint is damaged or cut off: "),
        "{message}"
    );
}

#[test]
fn a_storage_shorter_than_its_tensor_is_refused() {
    let (_folder, path) = file("w.pkl", b"");
    save(
        &path,
        &Value::Dict(vec![("w", whole(0, &[4], &[1]))]),
        &[f32_bytes(&[1.0])],
    );
    let message = refusal(&path);
    assert!(
        message.contains("damaged or cut off: tensor 'w'"),
        "{message}"
    );
}

/// One number that claims to be 2 GiB of them.
#[test]
fn a_view_larger_than_the_file_is_refused() {
    let (_folder, path) = file("w.pkl", b"");
    let view = Strided {
        class: "FloatStorage",
        storage: 0,
        numbers: 1,
        offset: 0,
        shape: &[1 << 29],
        stride: &[0],
    };
    let root = Value::Dict(vec![("w", Value::Tensor(view))]);
    save(&path, &root, &[f32_bytes(&[1.0])]);
    let message = refusal(&path);
    assert!(
        message.contains("'w' [536870912] needs 2147483648 bytes, the file has "),
        "{message}"
    );
}

#[test]
fn code_in_a_pickle_is_refused_and_not_run() {
    let (folder, path) = file("w.pkl", b"");
    let marker = folder.path().join("marker");
    let command = format!("echo > {}", marker.display());
    let call = |module| Value::Call {
        module,
        name: "system",
        argument: &command,
    };
    let refused = "only Python could run; nothing of it was run here; expected tensors only, as \
                   torch.save(model.state_dict(), FILE) writes them";

    let root = Value::Dict(vec![("w", whole(0, &[1], &[1])), ("x", call("posix"))]);
    save(&path, &root, &[f32_bytes(&[1.0])]);
    assert_eq!(
        refusal(&path),
        format!("'x' is made by posix.system, which {refused}")
    );

    let inner = Value::Dict(vec![("y", call("os"))]);
    save(&path, &Value::Dict(vec![("x", inner)]), &[]);
    assert_eq!(
        refusal(&path),
        format!("'x.y' is made by os.system, which {refused}")
    );

    // As the whole object, in an archive and as a bare pickle.
    let expected = format!("'the whole' is made by nt.system, which {refused}");
    save(&path, &call("nt"), &[]);
    assert_eq!(refusal(&path), expected);
    fs::write(&path, pickle(&call("nt"))).unwrap();
    assert_eq!(refusal(&path), expected);
    assert!(!marker.exists());
}

#[test]
fn pickles_that_are_no_state_dicts_are_refused() {
    let (_folder, path) = file("w.pkl", b"");
    let expected = "; expected a dictionary of tensors, as torch.save(model.state_dict(), FILE) \
                    writes it";
    fs::write(&path, pickle(&Value::Int(3))).unwrap();
    assert_eq!(
        refusal(&path),
        format!("this is not a checkpoint of weights: the pickle holds a number{expected}")
    );
    save(&path, &whole(0, &[1], &[1]), &[f32_bytes(&[1.0])]);
    assert_eq!(
        refusal(&path),
        format!("this is not a checkpoint of weights: the pickle holds a single tensor{expected}")
    );
    // The tensors of a bare pickle have no numbers.
    fs::write(
        &path,
        pickle(&Value::Dict(vec![("w", whole(0, &[1], &[1]))])),
    )
    .unwrap();
    let message = refusal(&path);
    assert!(message.ends_with(expected), "{message}");
    // Plain numbers are passed over, and then nothing is left.
    save(&path, &Value::Dict(vec![("epoch", Value::Int(3))]), &[]);
    assert_eq!(refusal(&path), "this file holds no tensors");
}

#[test]
fn a_checkpoint_that_nests_its_weights_names_the_key() {
    let (_folder, path) = file("w.pkl", b"");
    let inner = Value::Dict(vec![
        ("fc.weight", whole(0, &[1, 1], &[1, 1])),
        ("fc.bias", whole(0, &[1], &[1])),
    ]);
    let root = Value::Dict(vec![("epoch", Value::Int(3)), ("model", inner)]);
    save(&path, &root, &[f32_bytes(&[1.0])]);
    assert_eq!(
        refusal(&path),
        "the weights are nested in this checkpoint: \"model\" holds 2 tensors; save one of them \
         alone: torch.save(torch.load(FILE)[\"model\"], OTHER)"
    );
}

#[test]
fn numbers_that_are_no_weights_are_refused() {
    let (_folder, path) = file("w.pkl", b"");
    let root = Value::Dict(vec![("fc.steps", of_class("LongStorage", 0, &[1], &[1]))]);
    save(&path, &root, &[vec![0; 8]]);
    assert_eq!(
        refusal(&path),
        "'fc.steps' has numbers of type I64, expected F32, F64, F16 or BF16"
    );

    let root = Value::Dict(vec![("fc.bias", whole(0, &[3], &[1]))]);
    save(&path, &root, &[f32_bytes(&[1.0, f32::NAN, 2.0])]);
    let diverged = "expected finite f32 numbers; the run that it comes from diverged";
    let refused = refusal(&path);
    assert_eq!(refused, format!("'fc.bias' has NaN at place 1, {diverged}"));

    let root = Value::Dict(vec![("fc.bias", of_class("DoubleStorage", 0, &[1], &[1]))]);
    save(&path, &root, &[1e39f64.to_le_bytes().to_vec()]);
    let refused = refusal(&path);
    let value = 1e39f64;
    assert_eq!(
        refused,
        format!("'fc.bias' has {value} at place 0, {diverged}")
    );

    let safetensors = path.with_extension("safetensors");
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::I32, vec![1], &[0; 4]);
    let content = safetensors::serialize([("n", view.unwrap())], None).unwrap();
    fs::write(&safetensors, content).unwrap();
    assert_eq!(
        refusal(&safetensors),
        "'n' has numbers of type I32, expected F32, F64, F16 or BF16"
    );
}

#[test]
fn a_later_header_is_refused() {
    let (_folder, path) = file("w.safetensors", b"");
    let entry = |json: &str| {
        let metadata = [("mspipe".to_owned(), json.to_owned())].into();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]);
        let content = safetensors::serialize([("n", view.unwrap())], Some(metadata)).unwrap();
        fs::write(&path, content).unwrap();
    };
    entry(r#"{"format":2,"anything":true}"#);
    assert_eq!(
        refusal(&path),
        "its header has version 2, this mspipe knows 1; take a newer mspipe"
    );
    entry("x");
    let message = refusal(&path);
    assert!(
        message.contains("its metadata 'mspipe' is not as mspipe writes it"),
        "{message}"
    );
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let (folder, path) = file("w.safetensors", b"kept");
    let mut weights = some_weights();
    weights.get_mut("b.bias").unwrap().values[1] = f32::INFINITY;
    let error = weights::write(&path, &weights, None).unwrap_err();
    assert!(
        error.to_string().contains("'b.bias' has inf at place 1"),
        "{error}"
    );
    weights.get_mut("b.bias").unwrap().values.pop();
    let error = weights::write(&path, &weights, None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'b.bias' has 1 values for its shape [2]"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"kept");

    let nowhere = folder.path().join("none").join("w.safetensors");
    let error = weights::write(&nowhere, &some_weights(), None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("w.safetensors: can't be written: "),
        "{error}"
    );
}

/// An archive that is no checkpoint, as .npz files are.
#[test]
fn other_archives_are_refused() {
    let (_folder, path) = file("w.npz", b"");
    let named = archive("archive", b"", &[]);
    let text = named.escape_ascii().to_string();
    assert!(text.contains("data.pkl"));
    let renamed: Vec<u8> = replace(&named, b"data.pkl", b"data.npy");
    fs::write(&path, renamed).unwrap();
    let message = refusal(&path);
    assert!(
        message.starts_with("this is not a checkpoint of weights: "),
        "{message}"
    );
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

/// Small files that would become gigabytes: refused before anything is built of them.
#[test]
fn files_that_would_exhaust_the_machine_are_refused() {
    let (_folder, path) = file("w.pkl", b"");
    let archived = |pickle: &[u8], storages: &[Vec<u8>]| archive("x", pickle, storages);
    let unexplained = "which a file of";
    let values = [b"\x80\x02".to_vec(), vec![b'}'; 4 << 20], b".".to_vec()].concat();
    for bytes in [values.clone(), archived(&values, &[])] {
        fs::write(&path, bytes).unwrap();
        let message = refusal(&path);
        assert!(message.contains(unexplained), "{message}");
        assert!(
            message.ends_with("torch.save(model.state_dict(), FILE)"),
            "{message}"
        );
    }
    // Nesting, copies of what is memoized, doubling: bounded by the library itself.
    let nested = [
        b"\x80\x02".to_vec(),
        vec![b']'; 5000],
        vec![b'a'; 4999],
        b".".to_vec(),
    ]
    .concat();
    let doubled = [
        b"\x80\x02K\x01".to_vec(),
        b"2\x86".repeat(60),
        b".".to_vec(),
    ]
    .concat();
    let copied = [
        b"\x80\x02B\0\0\x20\0".to_vec(),
        vec![7; 2 << 20],
        b"q\x00(".to_vec(),
        b"h\x00".repeat(100),
        b"t.".to_vec(),
    ]
    .concat();
    for (bytes, expected) in [
        (nested, "nesting exceeds 1000 levels"),
        (doubled, "memo bomb"),
        (copied, "memo bomb"),
    ] {
        fs::write(&path, archived(&bytes, &[])).unwrap();
        let message = refusal(&path);
        assert!(message.contains(expected), "{message}");
    }
    // A thousand tensors of the same numbers.
    let names: Vec<String> = (0..1000).map(|i| format!("w{i}")).collect();
    let views = names
        .iter()
        .map(|name| (name.as_str(), whole(0, &[64, 64], &[64, 1])))
        .collect();
    save(&path, &Value::Dict(views), &[f32_bytes(&[0.5; 4096])]);
    let message = refusal(&path);
    assert!(message.contains("they share their numbers"), "{message}");
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    fs::write(&path, tar).unwrap();
    let message = refusal(&path);
    assert!(
        message.contains("a tar archive, as PyTorch wrote them before version 0.1.10"),
        "{message}"
    );
}
