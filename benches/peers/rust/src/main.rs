//! What one would write in Rust: actix, `.presigned()` of the AWS SDK, and one sqlx transaction a request on SQLite.
//!
//! No token, no policy, no quota, no audit trail. Prints where it listens.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, error, web};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    filename: String,
    size: i64,
    content_type: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    object_id: String,
    upload_url: String,
    method: &'static str,
    headers: BTreeMap<String, String>,
    expires_at: Timestamp,
    status_url: String,
}

struct State {
    s3: Client,
    database: SqlitePool,
}

async fn request_upload(state: web::Data<State>, request: web::Json<Request>) -> actix_web::Result<HttpResponse> {
    let Request { filename, size, content_type } = request.into_inner();
    let id = format!("obj_{}", Uuid::now_v7().simple());
    let key = format!("incoming/{id}/{filename}");
    let lifetime = Duration::from_secs(600);
    let signed = state
        .s3
        .put_object()
        .bucket("vestibule-images")
        .key(&key)
        .content_length(size)
        .content_type(&content_type)
        .if_none_match("*")
        .presigned(PresigningConfig::expires_in(lifetime).map_err(error::ErrorInternalServerError)?)
        .await
        .map_err(error::ErrorInternalServerError)?;
    let now = Timestamp::now();
    let mut transaction = state.database.begin().await.map_err(error::ErrorInternalServerError)?;
    sqlx::query("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)")
        .bind(&id)
        .bind(&key)
        .bind(size)
        .bind(&content_type)
        .bind(now.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(error::ErrorInternalServerError)?;
    transaction.commit().await.map_err(error::ErrorInternalServerError)?;
    Ok(HttpResponse::Created().json(Answer {
        upload_url: signed.uri().to_owned(),
        method: "PUT",
        headers: signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        expires_at: now + SignedDuration::from_secs(600),
        status_url: format!("/objects/{id}"),
        object_id: id,
    }))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::path::Path::new(&std::env::var("DATA")?).join("rust.db");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    // SQLite has one writer; more connections only wait for each other's lock.
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(20));
    let database = pool.connect_with(options).await?;
    sqlx::query("CREATE TABLE uploads (id TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER, type TEXT, created TEXT)")
        .execute(&database)
        .await?;
    let keys = Credentials::from_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(keys)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    let state = web::Data::new(State { s3: Client::from_conf(config), database });
    let server =
        HttpServer::new(move || App::new().app_data(state.clone()).route("/request-upload", web::post().to(request_upload)));
    let server = server.bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("{address}");
    }
    server.run().await?;
    Ok(())
}
