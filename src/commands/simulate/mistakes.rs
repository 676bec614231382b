//! Requests that are invalid on purpose.

use fastrand::Rng;
use serde_json::Value;

use super::visitors::{Expected, Planned, TokenChoice};

/// What can be wrong with a request.
#[derive(Clone, Copy)]
enum Mistake {
    MissingUrl,
    WrongType,
    Garbage,
    CutShort,
    NoToken,
    WrongToken,
    WrongProject,
}

const MISTAKES: &[Mistake] = &[
    Mistake::MissingUrl,
    Mistake::WrongType,
    Mistake::Garbage,
    Mistake::CutShort,
    Mistake::NoToken,
    Mistake::WrongToken,
    Mistake::WrongProject,
];

/// Makes an invalid request from a valid page view.
pub fn spoil(rng: &mut Rng, mut body: Value, user_agent: &'static str) -> Planned {
    let mistake = MISTAKES[rng.usize(..MISTAKES.len())];
    let mut token = TokenChoice::Given;
    let mut status = 400;
    match mistake {
        Mistake::MissingUrl => {
            if let Some(fields) = body.as_object_mut() {
                fields.remove("url");
            }
        }
        Mistake::WrongType => body["url"] = Value::from(vec![7]),
        Mistake::Garbage | Mistake::CutShort => {}
        Mistake::NoToken => (token, status) = (TokenChoice::None, 401),
        Mistake::WrongToken => {
            let digits = format!("{:032x}{:032x}", rng.u128(..), rng.u128(..));
            (token, status) = (TokenChoice::Wrong(format!("bk_live_{digits}")), 401);
        }
        Mistake::WrongProject => {
            body["projectId"] = Value::from(format!("nobodys-{:08x}", rng.u32(..)));
            status = 401;
        }
    }
    let mut body = body.to_string().into_bytes();
    match mistake {
        Mistake::Garbage => body = b"\x00\xff{not json".to_vec(),
        Mistake::CutShort => body.truncate(body.len() / 2),
        _ => {}
    }
    let expects = Expected::Refused(status);
    Planned { path: "/track", content_type: "application/json", user_agent, token, body, expects }
}
