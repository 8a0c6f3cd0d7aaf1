//! t
use super::slapd::*;
#[test]
fn smoke() {
    let s = Slapd::start(&Options::default());
    let t = s.add_token(Token { cn: "t1", secret: &[7; 20], params: PARAMS_DN });
    s.add_user(User { uid: "u1", password: b"pw", tokens: &[&t] });
    println!("{}", s.log());
}
