// What one would write with fastify: a record in SQLite, committed before the answer, and a URL by the AWS SDK.
// No token, no policy, no quota, no audit trail. Prints where it listens.
import { randomUUID } from "node:crypto";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import Database from "better-sqlite3";
import Fastify from "fastify";

const database = new Database(`${process.env.DATA}/fastify.db`);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec("CREATE TABLE uploads (id TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER, type TEXT, created TEXT)");
const insert = database.prepare("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)");

const s3 = new S3Client({
  region: "eu-central-1",
  credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" },
  requestChecksumCalculation: "WHEN_REQUIRED",
});
const schema = {
  body: {
    type: "object",
    required: ["filename", "size", "contentType"],
    properties: { filename: { type: "string" }, size: { type: "integer" }, contentType: { type: "string" } },
  },
};

const app = Fastify();
app.post("/request-upload", { schema }, async (request, reply) => {
  const { filename, size, contentType } = request.body;
  const id = `obj_${randomUUID()}`;
  const key = `incoming/${id}/${filename}`;
  const command = new PutObjectCommand({
    Bucket: "vestibule-images", Key: key, ContentLength: size, ContentType: contentType, IfNoneMatch: "*",
  });
  const uploadUrl = await getSignedUrl(s3, command, {
    expiresIn: 600, signableHeaders: new Set(["content-length", "content-type", "if-none-match", "host"]),
  });
  const expiresAt = new Date(Date.now() + 600_000).toISOString();
  insert.run(id, key, size, contentType, new Date().toISOString());
  const headers = { "content-length": String(size), "content-type": contentType, "if-none-match": "*" };
  return reply.code(201).send({ objectId: id, uploadUrl, method: "PUT", headers, expiresAt, statusUrl: `/objects/${id}` });
});
await app.listen({ host: "127.0.0.1", port: 0 });
console.log(`127.0.0.1:${app.server.address().port}`);
