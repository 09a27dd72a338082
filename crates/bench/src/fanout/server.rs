//! The servers that are measured, each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::load::{Ready, Target};
use super::message::Kind;
use super::process::{Running, free};
use super::raw;
use super::source::Feed;

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Name {
    /// A loop over sockets, one write for each message and client
    Raw,
    /// The same, what waits for a client joined in one write: the limit
    Joined,
    /// nginx with nchan
    Nchan,
    /// `ws` of Node.js, frames made once
    Ws,
    /// Socket.IO of Node.js
    SocketIo,
    /// The broadcaster, with authentication, rooms and filters
    Ours,
}

impl Name {
    /// Its name in results.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Joined => "joined",
            Self::Nchan => "nchan",
            Self::Ws => "ws",
            Self::SocketIo => "socket-io",
            Self::Ours => "ours",
        }
    }
}

/// What is there to be measured, and what ours needs.
#[derive(Debug, Clone)]
pub struct Means {
    /// The `lockstep` executable, a release build.
    pub lockstep: PathBuf,
    /// The `nginx` executable, where there is one with nchan.
    pub nginx: Option<PathBuf>,
    /// The packages of Node.js, where they are installed.
    pub modules: Option<PathBuf>,
    /// NATS.
    pub nats: String,
    /// PostgreSQL.
    pub database: String,
    /// Which event ours is told.
    pub kind: Kind,
    /// Configurations and logs.
    pub folder: PathBuf,
}

/// A server that runs.
pub struct Server {
    /// Which.
    pub name: Name,
    /// Its process.
    pub process: Running,
    /// Where clients connect.
    pub target: Target,
    /// How it is told.
    pub feed: Feed,
}

/// Where nginx's modules lie in Debian, from the executable's folder.
const NCHAN: &str = "../lib/nginx/modules/ngx_nchan_module.so";
const KEY: &str = "a-key-of-the-benchmark";
/// What ours is asked for: the room of everything, with a filter that every message passes.
const FILTERED: &str = "/v1/ws?room=all&lifecycle=work&lifecycle=agent&status=working&status=in_progress";

impl Means {
    /// Whether a server can be measured; if not, why.
    pub fn lacks(&self, name: Name) -> Option<&'static str> {
        match name {
            Name::Nchan if self.nginx.is_none() => {
                Some("nginx with nchan is not installed (nginx, libnginx-mod-nchan)")
            }
            Name::Ws | Name::SocketIo if self.modules.is_none() => Some("the packages of Node.js are not installed"),
            _ => None,
        }
    }

    /// Starts a server.
    pub fn start(&self, name: Name) -> Result<Server> {
        self.start_with(name, &[])
    }

    /// The same, but an allocator like ours gives back at once what is not in use. It would keep for a while what the start and bursts
    /// of handshakes needed, and what thousands of connections take would come out of that.
    pub fn start_thrifty(&self, name: Name) -> Result<Server> {
        self.start_with(name, &[("MIMALLOC_PURGE_DELAY", "0")])
    }

    fn start_with(&self, name: Name, settings: &[(&str, &str)]) -> Result<Server> {
        let (address, source) = (free()?, free()?);
        let log = self.folder.join(format!("{}.log", name.word()));
        let plain = |path: &str, ready| Target { address, path: path.into(), heads: String::new(), ready };
        let (mut command, target, feed) = match name {
            Name::Raw | Name::Joined => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([raw::WORD, &address.to_string(), &source.to_string()]);
                command.arg(if name == Name::Raw { "single" } else { "joined" });
                (command, plain("/", Ready::Upgraded), Feed::Lines(source))
            }
            Name::Nchan => (self.nchan(address)?, plain("/sub", Ready::Upgraded), Feed::Http(address)),
            Name::Ws => (self.node("ws.cjs", address, source)?, plain("/", Ready::Upgraded), Feed::Lines(source)),
            Name::SocketIo => {
                let path = "/socket.io/?EIO=4&transport=websocket";
                (self.node("socketio.cjs", address, source)?, plain(path, Ready::SocketIo), Feed::Lines(source))
            }
            Name::Ours => {
                let heads = format!("Authorization: Bearer {KEY}\r\n");
                let target = Target { address, path: FILTERED.into(), heads, ready: Ready::Snapshot };
                (self.ours(address)?, target, Feed::Bus(self.nats.clone(), self.kind))
            }
        };
        command.envs(settings.iter().copied());
        let process =
            Running::start(command, address, &log).with_context(|| format!("{} does not run", name.word()))?;
        Ok(Server { name, process, target, feed })
    }

    fn nchan(&self, address: SocketAddr) -> Result<Command> {
        let nginx = self.nginx.as_deref().context("nginx is not installed")?;
        let module = nginx.parent().context("nginx lies in a folder")?.join(NCHAN);
        let file = self.written("nginx.conf", &nchan_config(address, &module, &self.folder))?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(&self.folder).arg("-c").arg(file);
        Ok(command)
    }

    fn node(&self, script: &str, address: SocketAddr, source: SocketAddr) -> Result<Command> {
        let modules = self.modules.as_deref().context("the packages of Node.js are not installed")?;
        let folder = modules.parent().context("the packages of Node.js lie in a folder beside the servers")?;
        let mut command = Command::new("node");
        command.arg(folder.join(script)).args([address.port().to_string(), source.port().to_string()]);
        command.env("NODE_ENV", "production");
        Ok(command)
    }

    fn ours(&self, address: SocketAddr) -> Result<Command> {
        let max = "clients_max = 20000\nclients_max_of_key = 20000";
        let text = format!("[broadcaster]\n{max}\n\n[broadcaster.auth]\napi_keys = [\"{KEY}\"]\n");
        let config = self.written("lockstep.toml", &text)?;
        let mut command = Command::new(&self.lockstep);
        command.args(["serve", "broadcaster", "--listen", &address.to_string(), "--config"]).arg(config);
        // Nobody's own settings.
        command.env_clear().env("NATS_URL", &self.nats).env("DATABASE_URL", &self.database);
        command.current_dir(&self.folder);
        Ok(command)
    }

    fn written(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}

fn nchan_config(address: SocketAddr, module: &Path, folder: &Path) -> String {
    let (module, folder) = (module.display(), folder.display());
    format!(
        "load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 40000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 30000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_buffer_size 16k;
    nchan_shared_memory_size 256M;
    server {{
        listen {address} backlog=4096;
        location = /sub {{
            nchan_subscriber websocket;
            nchan_channel_id all;
            nchan_subscriber_first_message newest;
        }}
        location = /pub {{
            nchan_publisher http;
            nchan_channel_id all;
            nchan_message_buffer_length 20000;
            nchan_message_timeout 1m;
        }}
    }}
}}
"
    )
}
