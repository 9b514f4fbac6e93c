//! What `make bench` compares the gateway with: actix and JSON, and nothing else.
//!
//! `POST /request-upload` and `POST /request-download` read the same requests and write answers of the same fields and
//! length, made of constants.
//! No token, policy, quota, signature, record or disk: the room that those may take is what the ratio shows.
//! Prints the address that it listens on, and serves until it is killed.

use std::collections::BTreeMap;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    filename: String,
    size: u64,
    content_type: String,
    path: Option<String>,
    classification: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    object_id: String,
    upload_url: String,
    method: &'static str,
    headers: BTreeMap<&'static str, String>,
    fields: Option<BTreeMap<String, String>>,
    expires_at: &'static str,
    status_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DownloadRequest {
    object_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DownloadAnswer {
    download_url: String,
    expires_at: &'static str,
    filename: &'static str,
    content_type: &'static str,
    size: u64,
    sha256: &'static str,
}

const ID: &str = "obj_01a201063204776ab327b7d0b01b93ac";
const URL: &str = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=VSTSDA7B013A929CBCAC%2F20261122%2Fembedded%2Fs3%2F\
                   aws4_request&X-Amz-Date=20261122T021152Z&X-Amz-Expires=600&X-Amz-SignedHeaders=content-length%3B\
                   content-type%3Bhost%3Bif-none-match&x-grant-id=grt_01a201063204725a915dec7b9724f644&\
                   X-Amz-Signature=35cd1e3a9dbeb825777fc75b13c1dca5fb6ff4e9fd9144a5e107a3172a9b80eb";

async fn request_upload(request: web::Json<Request>) -> HttpResponse {
    let Request { filename, size, content_type, path, classification } = request.into_inner();
    let path = path.unwrap_or_default();
    if classification.is_some_and(|class| class.len() > 64) {
        return HttpResponse::BadRequest().finish();
    }
    HttpResponse::Created().json(Answer {
        object_id: ID.to_owned(),
        upload_url: format!("http://127.0.0.1:32939/vestibule-images/incoming/{path}{ID}/{filename}{URL}"),
        method: "PUT",
        headers: BTreeMap::from([
            ("content-length", size.to_string()),
            ("content-type", content_type),
            ("if-none-match", "*".to_owned()),
        ]),
        fields: None,
        expires_at: "2026-11-22T02:21:52Z",
        status_url: format!("/objects/{ID}"),
    })
}

const DOWNLOAD_URL: &str = "?response-cache-control=private%2Cno-store&\
                            response-content-disposition=attachment%3B%20filename%3D%22menu.jpg%22&\
                            response-content-type=image%2Fjpeg&x-grant-id=grt_01a201063204725a915dec7b9724f644&\
                            X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=VSTSDA7B013A929CBCAC%2F20261122%2F\
                            embedded%2Fs3%2Faws4_request&X-Amz-Date=20261122T021152Z&X-Amz-Expires=300&\
                            X-Amz-SignedHeaders=host&\
                            X-Amz-Signature=35cd1e3a9dbeb825777fc75b13c1dca5fb6ff4e9fd9144a5e107a3172a9b80eb";

async fn request_download(request: web::Json<DownloadRequest>) -> HttpResponse {
    let id = request.into_inner().object_id;
    HttpResponse::Ok().json(DownloadAnswer {
        download_url: format!("http://127.0.0.1:32939/vestibule-images/uploads/{id}/menu.jpg{DOWNLOAD_URL}"),
        expires_at: "2026-11-22T02:16:52Z",
        filename: "menu.jpg",
        content_type: "image/jpeg",
        size: 48_213,
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    })
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let server = HttpServer::new(|| {
        App::new()
            .route("/request-upload", web::post().to(request_upload))
            .route("/request-download", web::post().to(request_download))
    });
    let server = server.bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("{address}");
    }
    server.run().await
}
