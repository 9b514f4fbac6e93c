//! A client as a careful program would be written: an idempotency key for each upload, and no answer is not the end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::harness;

/// One workflow's client. Unlike [`Gateway`]'s own methods it survives the gateway.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    public: String,
    token: String,
}

/// What a client sends.
#[derive(Clone, Debug)]
pub struct File {
    pub name: &'static str,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

impl File {
    /// A clean file of `tests/fixtures/`, made different from every other by a number behind its end.
    pub fn clean(name: &'static str, number: usize) -> Self {
        let content_type = match name.rsplit('.').next() {
            Some("jpg") => "image/jpeg",
            Some("png") => "image/png",
            Some("webp") => "image/webp",
            Some("pdf") => "application/pdf",
            _ => "text/csv",
        };
        let mut bytes = fixture(name);
        match content_type {
            "text/csv" => bytes.extend(format!("{number},2026-11-10,Ferry Coffee,431.79,19,513.83,open\n").bytes()),
            _ => bytes.extend(format!("\n%{number}\n").bytes()),
        }
        Self { name, content_type, bytes }
    }

    /// The EICAR test file in the name of a JPEG.
    pub fn infected(number: usize) -> Self {
        let mut bytes = harness::eicar();
        bytes.extend(format!("\n{number}").bytes());
        Self { name: "menu.jpg", content_type: "image/jpeg", bytes }
    }

    /// A web page in the name of a PNG.
    pub fn mistyped(number: usize) -> Self {
        let mut bytes = fixture("page.html");
        bytes.extend(format!("<!-- {number} -->").bytes());
        Self { name: "menu.png", content_type: "image/png", bytes }
    }
}

fn fixture(name: &'static str) -> Vec<u8> {
    static READ: std::sync::Mutex<BTreeMap<&str, Vec<u8>>> = std::sync::Mutex::new(BTreeMap::new());
    READ.lock().unwrap().entry(name).or_insert_with(|| harness::fixture(name)).clone()
}

impl Client {
    pub fn new(gateway: &Gateway, token: &str) -> Self {
        Self { http: gateway.http.clone(), public: gateway.public.clone(), token: token.to_owned() }
    }

    /// Requests an upload; `None` where there was no whole answer.
    pub async fn request(&self, file: &File, key: &str) -> Option<(u16, Value)> {
        let body = json!({ "filename": file.name, "size": file.bytes.len(), "contentType": file.content_type });
        self.post("/request-upload", &body, key).await
    }

    pub async fn post(&self, path: &str, body: &Value, key: &str) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.public)).bearer_auth(&self.token);
        let answer = request.header("idempotency-key", key).json(body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// Sends bytes as the answer says; the storage's status, `None` where there was none.
    pub async fn put(&self, issued: &Value, bytes: &[u8]) -> Option<u16> {
        let mut request = self.http.put(issued["uploadUrl"].as_str()?).body(bytes.to_vec());
        for (name, value) in issued["headers"].as_object()?.iter().filter(|(name, _)| *name != "content-length") {
            request = request.header(name, value.as_str()?);
        }
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// Requests a download and reads it; the status and code of the refusal where there is one.
    pub async fn download(&self, id: &str) -> Result<Vec<u8>, (u16, String)> {
        let asked = self.post("/request-download", &json!({ "objectId": id }), "unused").await;
        let (status, issued) = asked.unwrap_or_else(|| panic!("no answer about {id}"));
        if status != 200 {
            return Err((status, issued["code"].as_str().unwrap_or_default().to_owned()));
        }
        let answer = self.http.get(issued["downloadUrl"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the storage refuses {id}");
        Ok(answer.bytes().await.unwrap().to_vec())
    }
}
