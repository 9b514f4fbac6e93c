// Verifies JWTs by the issuer's published keys, with `jose`. Input: {issuer, audience?, typ?, tokens}; prints the claims of each.
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { issuer, audience, typ, tokens } = JSON.parse(process.argv[2]);
const { jwks_uri: keys } = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
const set = createRemoteJWKSet(new URL(keys));
const verified = tokens.map((token) => jwtVerify(token, set, { issuer, audience, typ }));
console.log(JSON.stringify((await Promise.all(verified)).map(({ payload }) => payload)));
