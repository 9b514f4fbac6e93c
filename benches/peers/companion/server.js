// Uppy Companion as its documentation sets it up, for its /s3/params. It keeps no record and asks for no token.
// Prints where it listens.
import * as companion from "@uppy/companion";
import express from "express";
import session from "express-session";

const app = express();
app.use(session({ secret: "bench-session-secret", resave: false, saveUninitialized: false }));
const { app: uploads } = companion.app({
  secret: "bench-companion-secret",
  filePath: process.env.DATA,
  server: { host: "127.0.0.1", protocol: "http" },
  uploadUrls: [/^https:\/\/files\.example\.com\//],
  corsOrigins: true,
  s3: {
    key: "AKIAIOSFODNN7EXAMPLE",
    secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    bucket: "vestibule-images",
    region: "eu-central-1",
    expires: 600,
  },
});
app.use(uploads);
const server = app.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
