//! Who we are may stand in the address, as NATS's own clients have it.

use bus::testing::Server;
use bus::{Bus, Config};
use runtime::Process;

#[tokio::test]
async fn a_user_with_a_password_or_a_token_is_taken_from_the_address() {
    let cases: [(&[&str], &str); 2] =
        [(&["--user", "lockstep", "--pass", "p@ss"], "lockstep:p%40ss@"), (&["--auth", "s3cret"], "s3cret@")];
    for (arguments, who) in cases {
        let server = Server::start_with(arguments).unwrap();
        let to = |who: &str| Config { url: format!("nats://{who}{}", server.address()), ..server.config() };
        let process = Process::new("test", None);
        assert!(Bus::connect(&to(who), &process).await.is_ok(), "{who}");
        let refused = Bus::connect(&to("else:p%40ss@"), &process).await.err().unwrap().to_string();
        assert!(refused.contains("refuses our credentials") && !refused.contains("p%40ss"), "{refused}");
    }
}
