//! Compiles `proto/lockstep/v1/*.proto` with protox: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../proto");
    let files = protox::compile(["lockstep/v1/watch.proto"], ["../../proto"])?;
    prost_build::Config::new()
        .type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .message_attribute(".", "#[serde(default, deny_unknown_fields)]")
        .btree_map(["."])
        .compile_fds(files)?;
    Ok(())
}
