//! What is believed of a token, and what is not: OpenID Connect Core 3.1.3.7, RFC 9068 section 4, RFC 8725.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use vestibule::domain::admin::AdminRole;
use vestibule::domain::principal::Environment;
use vestibule::identity::oidc::{AssertionKind, Flaw, Use};

use super::provider::{Key, encode, unsigned};
use super::{Bench, flaw};

#[tokio::test]
async fn a_good_id_token_says_who_the_person_is() {
    let bench = Bench::new(|_| ()).await;
    let said = bench.verify(&bench.id_token(|_| ())).await.unwrap();
    assert_eq!((said.issuer.as_str(), said.sub.as_str(), said.client.as_deref()), ("corp", "u-7", Some("page")));
    assert_eq!((said.kind, said.environment), (AssertionKind::IdToken, Environment::Live));
    assert_eq!(said.subject.role.unwrap().as_str(), "clinician");
    assert_eq!((said.subject.user.as_str(), said.subject.project.as_deref()), ("u-7", Some("ward-3")));
    assert_eq!(said.cnf_jkt, None);
    assert_eq!(said.expires_at.as_second(), bench.now() + 600);
    assert!(said.roles.is_empty(), "an app's token makes no operator");
}

#[tokio::test]
async fn a_good_access_token_says_who_the_person_is_and_which_key_it_is_bound_to() {
    let bench = Bench::new(|_| ()).await;
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let said = bench.verify(&bench.access_token(|claims| claims["cnf"] = json!({ "jkt": jkt }))).await.unwrap();
    assert_eq!((said.kind, said.client.as_deref()), (AssertionKind::AccessToken, Some("platform")));
    assert_eq!(said.cnf_jkt.as_deref(), Some(jkt));
    for typ in ["AT+JWT", "application/at+jwt"] {
        let token = bench.key.sign(json!({ "typ": typ }), &bench.access_claims());
        assert_eq!(bench.flaw(&token).await, None, "{typ}");
    }
}

#[tokio::test]
async fn the_algorithm_is_pinned_and_never_the_senders_choice() {
    let bench = Bench::new(|config| config["algorithms"] = json!(["RS256"])).await;
    let rsa = Key::rsa("rsa");
    bench.provider.publish(&[&bench.key, &rsa]);
    assert_eq!(bench.flaw(&rsa.sign(json!({}), &bench.id_claims())).await, None);

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for signature in ["", ".", ".AA"] {
            let token = format!("{}{signature}", unsigned(&json!({ "alg": alg, "kid": "rsa" }), &bench.id_claims()));
            assert!(matches!(bench.flaw(&token).await, Some(Flaw::Algorithm | Flaw::Malformed)), "{alg} {signature}");
        }
    }
    // The public key as the secret of an HMAC, in every form in which a library might take it.
    let jwk = rsa.jwk().to_string();
    let modulus = rsa.jwk()["n"].as_str().unwrap().as_bytes().to_vec();
    for secret in [rsa.public_bytes(), jwk.into_bytes(), modulus, Vec::new()] {
        for alg in ["HS256", "HS384", "HS512"] {
            let message = unsigned(&json!({ "alg": alg, "kid": "rsa" }), &bench.id_claims());
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
            let token = format!("{message}.{}", encode(tag.as_ref()));
            assert_eq!(bench.flaw(&token).await, Some(Flaw::Algorithm), "{alg}");
        }
    }
    // Good signatures with algorithms that are not this issuer's.
    assert_eq!(bench.flaw(&bench.id_token(|_| ())).await, Some(Flaw::Algorithm));
    assert_eq!(bench.flaw(&rsa.sign(json!({ "alg": "PS256" }), &bench.id_claims())).await, Some(Flaw::Algorithm));
    // An algorithm that is pinned, with a key of another kind.
    assert_eq!(bench.flaw(&bench.key.sign(json!({ "alg": "RS256" }), &bench.id_claims())).await, Some(Flaw::Algorithm));
}

#[tokio::test]
async fn a_key_is_used_only_for_what_it_says_of_itself() {
    let bench = Bench::new(|config| config["algorithms"] = json!(["RS256", "PS256", "EdDSA", "ES256"])).await;
    let (rsa, edwards) = (Key::rsa("rsa"), Key::ed25519("edwards"));
    bench.provider.publish(&[&rsa, &edwards, &bench.key]);
    for token in [
        rsa.sign(json!({}), &bench.id_claims()),
        rsa.sign(json!({ "alg": "PS256" }), &bench.id_claims()),
        edwards.sign(json!({}), &bench.id_claims()),
    ] {
        assert_eq!(bench.flaw(&token).await, None);
    }
    for (member, value, wanted) in [
        ("alg", json!("PS256"), Flaw::Algorithm),
        ("use", json!("enc"), Flaw::Key),
        ("key_ops", json!(["encrypt"]), Flaw::Key),
        ("d", json!("AAAA"), Flaw::Key),
    ] {
        let bench = Bench::new(|config| config["algorithms"] = json!(["RS256", "PS256"])).await;
        let mut jwk = rsa.jwk();
        jwk[member] = value;
        bench.provider.manners().jwks = json!({ "keys": [jwk] }).to_string();
        assert_eq!(bench.flaw(&rsa.sign(json!({}), &bench.id_claims())).await, Some(wanted), "{member}");
    }
}

#[tokio::test]
async fn a_kid_is_a_name_among_the_issuers_keys_and_nothing_else() {
    let bench = Bench::new(|_| ()).await;
    let mine = Key::es256("elliptic");
    assert_eq!(bench.flaw(&mine.sign(json!({}), &bench.id_claims())).await, Some(Flaw::Signature), "a known name");
    for kid in ["../../../../dev/null", "elliptic' OR '1'='1", "http://evil.example/jwks", "ELLIPTIC", " elliptic", "0"]
    {
        let token = mine.sign(json!({ "kid": kid }), &bench.id_claims());
        assert_eq!(bench.flaw(&token).await, Some(Flaw::Key), "{kid}");
    }
    for header in [
        json!({ "jwk": mine.jwk() }),
        json!({ "jku": "http://127.0.0.1:9/jwks" }),
        json!({ "x5u": "http://127.0.0.1:9/" }),
        json!({ "x5c": ["AAAA"] }),
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
    ] {
        let token = mine.sign(header.clone(), &bench.id_claims());
        assert_eq!(bench.flaw(&token).await, Some(Flaw::Header), "{header}");
    }
    // Without a name only where there is one key to choose from.
    let nameless = bench.key.sign(json!({ "kid": null }), &bench.id_claims());
    assert_eq!(bench.flaw(&nameless).await, None);
    let other = Bench::new(|_| ()).await;
    other.provider.publish(&[&other.key, &mine]);
    let nameless = other.key.sign(json!({ "kid": null }), &other.id_claims());
    assert_eq!(other.flaw(&nameless).await, Some(Flaw::Key));
}

#[tokio::test]
async fn a_changed_cut_or_swapped_token_is_refused() {
    let bench = Bench::new(|_| ()).await;
    let (good, other) = (bench.id_token(|_| ()), bench.id_token(|claims| claims["sub"] = json!("u-8")));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (one, two) = (parts(&good), parts(&other));
    assert_eq!(bench.flaw(&format!("{}.{}.{}", one[0], two[1], one[2])).await, Some(Flaw::Signature));
    for cut in [good.len() - 1, good.len() / 2, 10] {
        assert!(bench.flaw(&good[..cut]).await.is_some(), "cut at {cut}");
    }
    for token in [good.to_uppercase(), good.to_lowercase(), format!("{good}A"), format!(" {good}"), format!("{good}.")]
    {
        assert!(bench.flaw(&token).await.is_some());
    }
}

/// A good token is refused once one claim is as told.
async fn refused(access: bool, cases: &[(&str, Value, Flaw)]) {
    let bench = Bench::new(|_| ()).await;
    for (claim, value, wanted) in cases {
        let edit = |claims: &mut Value| {
            claims[*claim] = value.clone();
            claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        };
        let token = if access { bench.access_token(edit) } else { bench.id_token(edit) };
        assert_eq!(bench.flaw(&token).await, Some(*wanted), "{claim} = {value}");
    }
    assert_eq!(bench.provider.reads(), 0, "what would be refused anyway makes nobody ask for keys");
}

#[tokio::test]
async fn an_id_token_for_somebody_else_is_refused() {
    refused(
        false,
        &[
            ("iss", json!("https://evil.example"), Flaw::Issuer),
            ("iss", json!(["corp"]), Flaw::Issuer),
            ("iss", json!(null), Flaw::Issuer),
            ("aud", json!("another"), Flaw::Audience),
            ("aud", json!("PAGE"), Flaw::Audience),
            ("aud", json!("https://files.example"), Flaw::Audience),
            ("aud", json!(["page", "another"]), Flaw::Audience),
            ("aud", json!(["page", "platform"]), Flaw::Claim("azp")),
            ("aud", json!([]), Flaw::Claim("aud")),
            ("aud", json!({ "page": true }), Flaw::Claim("aud")),
            ("aud", json!(["page", 1]), Flaw::Claim("aud")),
            ("aud", json!(null), Flaw::Claim("aud")),
            ("aud", json!("console"), Flaw::Audience),
            ("azp", json!("another"), Flaw::Client),
            ("azp", json!("console"), Flaw::Client),
            ("azp", json!(7), Flaw::Claim("azp")),
            ("sub", json!(null), Flaw::Claim("sub")),
            ("sub", json!(""), Flaw::Claim("sub")),
            ("sub", json!(7), Flaw::Claim("sub")),
            ("role", json!("No Role"), Flaw::Claim("role")),
            ("cnf", json!({ "x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }), Flaw::Confirmation),
            ("cnf", json!({ "jkt": "short" }), Flaw::Confirmation),
            ("cnf", json!({ "jwk": {} }), Flaw::Confirmation),
            ("cnf", json!(true), Flaw::Confirmation),
        ],
    )
    .await;
    let bench = Bench::new(|_| ()).await;
    let both = bench.id_token(|claims| {
        claims["aud"] = json!(["page", "platform"]);
        claims["azp"] = json!("platform");
    });
    assert_eq!(bench.verify(&both).await.unwrap().client.as_deref(), Some("platform"));
}

#[tokio::test]
async fn an_access_token_for_another_resource_or_client_is_refused() {
    refused(
        true,
        &[
            ("aud", json!("https://other.example"), Flaw::Audience),
            ("aud", json!("platform"), Flaw::Audience),
            ("client_id", json!("another"), Flaw::Client),
            ("client_id", json!(null), Flaw::Claim("client_id")),
            ("sub", json!("platform"), Flaw::NoPerson),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_kinds_of_token_are_never_taken_for_each_other() {
    let bench = Bench::new(|_| ()).await;
    for (typ, claims, wanted) in [
        // An access token without its type, and an id_token that says it were one.
        (json!("JWT"), bench.access_claims(), Flaw::Type),
        (json!(null), bench.access_claims(), Flaw::Type),
        (json!("at+jwt"), bench.id_claims(), Flaw::Audience),
        (json!("logout+jwt"), bench.id_claims(), Flaw::Type),
        (json!("dpop+jwt"), bench.id_claims(), Flaw::Type),
        (json!("secevent+jwt"), bench.id_claims(), Flaw::Type),
        (json!(""), bench.id_claims(), Flaw::Type),
    ] {
        assert_eq!(bench.flaw(&bench.key.sign(json!({ "typ": typ }), &claims)).await, Some(wanted), "{typ}");
    }
    // What goes by the general type for the right client, and is something else: an access token, a logout token.
    for (name, value) in [
        ("scope", json!("openid profile")),
        ("scope", json!("")),
        ("scp", json!(["read"])),
        ("scp", json!("read")),
        ("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} })),
        ("events", json!(null)),
    ] {
        let other = bench.id_token(|claims| claims[name] = value.clone());
        assert_eq!(bench.flaw(&other).await, Some(Flaw::Type), "{name} {value}");
        let other = bench.id_token(|claims| (claims["aud"], claims[name]) = (json!("console"), value.clone()));
        assert_eq!(flaw(bench.operator(&other).await), Some(Flaw::Type), "{name} {value}");
    }
    // What the caller says it is must be what it is.
    let (id, access) = (bench.id_token(|_| ()), bench.access_token(|_| ()));
    for (token, kind, other) in [
        (&id, AssertionKind::IdToken, AssertionKind::AccessToken),
        (&access, AssertionKind::AccessToken, AssertionKind::IdToken),
    ] {
        assert!(bench.issuers.verify(token, Use::Exchange(Some(kind))).await.is_ok());
        let refused = bench.issuers.verify(token, Use::Exchange(Some(other))).await;
        assert_eq!(flaw(refused), Some(Flaw::Kind(kind)));
    }
    // An operator's token is exchanged for nothing, even where it is for the gateway's apps as well.
    let both = bench.access_token(|claims| claims["aud"] = json!(["https://files.example", "console"]));
    assert_eq!(bench.flaw(&both).await, Some(Flaw::Audience));
    let strict = Bench::new(|config| config["tokens"] = json!(["id_token"])).await;
    assert_eq!(strict.flaw(&strict.access_token(|_| ())).await, Some(Flaw::Kind(AssertionKind::AccessToken)));
}

#[tokio::test]
async fn times_are_compared_with_the_clock_skew_and_not_a_second_more() {
    let bench = Bench::new(|config| {
        config["clock_skew"] = json!("30s");
        config["max_age"] = json!("1h");
    })
    .await;
    let now = bench.now();
    for (claims, wanted) in [
        (json!({ "exp": now - 29 }), None),
        (json!({ "exp": now - 30 }), Some(Flaw::Expired)),
        (json!({ "exp": 0 }), Some(Flaw::Expired)),
        (json!({ "iat": now + 30 }), None),
        (json!({ "iat": now + 31 }), Some(Flaw::NotYet)),
        (json!({ "nbf": now + 30 }), None),
        (json!({ "nbf": now + 31 }), Some(Flaw::NotYet)),
        (json!({ "nbf": now as f64 + 31.5 }), Some(Flaw::NotYet)),
        (json!({ "iat": now - 3630 }), None),
        (json!({ "iat": now - 3631 }), Some(Flaw::TooOld)),
        (json!({ "exp": null }), Some(Flaw::Claim("exp"))),
        (json!({ "exp": "2030" }), Some(Flaw::Claim("exp"))),
        (json!({ "exp": -1 }), Some(Flaw::Claim("exp"))),
        (json!({ "exp": 1e300 }), Some(Flaw::Claim("exp"))),
        (json!({ "exp": u64::MAX }), Some(Flaw::Claim("exp"))),
        (json!({ "exp": i64::MAX }), Some(Flaw::Claim("exp"))),
        (json!({ "iat": null }), Some(Flaw::Claim("iat"))),
        (json!({ "nbf": null }), Some(Flaw::Claim("nbf"))),
    ] {
        let token = bench.id_token(|all| {
            for (name, value) in claims.as_object().unwrap() {
                all[name] = value.clone();
            }
        });
        assert_eq!(bench.flaw(&token).await, wanted, "{claims}");
    }
}

#[tokio::test]
async fn operators_have_an_audience_of_their_own_and_the_roles_of_their_groups() {
    let bench = Bench::new(|_| ()).await;
    let token = |groups: Value| {
        bench.id_token(move |claims| {
            claims["aud"] = json!("console");
            claims["groups"] = groups.clone();
        })
    };
    let ada = bench.operator(&token(json!(["x", "r", "v"]))).await.unwrap();
    assert_eq!(ada.operator_name(), "corp:u-7");
    assert_eq!(ada.roles.iter().collect::<Vec<_>>(), [AdminRole::Viewer, AdminRole::Reviewer]);
    assert_eq!(bench.operator(&token(json!("a"))).await.unwrap().roles.to_string(), "admin");
    for nobody in [json!(["x"]), json!([]), json!(null), json!("A"), json!("v r")] {
        assert!(bench.operator(&token(nobody)).await.unwrap().roles.is_empty());
    }
    let odd = bench.operator(&token(json!({ "admin": true }))).await;
    assert_eq!(flaw(odd), Some(Flaw::Claim("claim of operators")));
    // What an app's page has opens no admin listener, and what an operator has is exchanged for nothing.
    assert_eq!(flaw(bench.operator(&bench.id_token(|_| ())).await), Some(Flaw::Audience));
    assert_eq!(flaw(bench.operator(&bench.access_token(|_| ())).await), Some(Flaw::Audience));
    let mixed = bench.id_token(|claims| claims["aud"] = json!(["console", "page"]));
    assert_eq!(flaw(bench.operator(&mixed).await), Some(Flaw::Audience));
    assert_eq!(bench.flaw(&token(json!("a"))).await, Some(Flaw::Audience));
    let access = bench.access_token(|claims| claims["aud"] = json!(["console"]));
    assert_eq!(bench.operator(&access).await.unwrap().kind, AssertionKind::AccessToken);
}
