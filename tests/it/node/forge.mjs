// Forged and misused assertions of the test provider. Input: {issuer, client, other, resource}; prints {good, hostile}, where
// hostile is a list of [what, token, type].
//
// What a forger cannot have is the provider's key: those tokens are signed with keys of its own, or not at all. What a
// person or another service can have is a token that the provider really signed, for something else: /test/sign makes those.
import { createHmac, createPublicKey, generateKeyPairSync, sign as signWith } from 'node:crypto';

const { issuer, client, other, resource } = JSON.parse(process.argv[2]);
const { keys } = await (await fetch(`${issuer}/jwks`)).json();
const of = (alg) => keys.find((key) => key.alg === alg);
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const now = Math.floor(Date.now() / 1000);
const claims = { iss: issuer, sub: 'analyst', aud: client, iat: now, exp: now + 300, role: 'analyst' };
const access = { ...claims, aud: resource, client_id: client, jti: 'forged', scope: 'openid' };

const signed = async (header, claims) => {
  const answer = await fetch(`${issuer}/test/sign`, { method: 'POST', body: JSON.stringify({ header, claims }) });
  return (await answer.json()).jwt;
};
const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ownRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const forged = (header, body = claims, pair = own) => {
  const input = `${b64({ alg: 'ES256', kid: of('ES256').kid, typ: 'JWT', ...header })}.${b64(body)}`;
  const key = { key: pair.privateKey, ...(pair === own && { dsaEncoding: 'ieee-p1363' }) };
  return `${input}.${signWith('sha256', Buffer.from(input), key).toString('base64url')}`;
};
const hmac = (secret, header = {}) => {
  const input = `${b64({ alg: 'HS256', kid: of('RS256').kid, typ: 'JWT', ...header })}.${b64(claims)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
};
const pem = (jwk, type = 'spki') => createPublicKey({ key: jwk, format: 'jwk' }).export({ type, format: 'pem' });

const good = await signed({ typ: 'JWT' }, claims);
const [head, body, signature] = good.split('.');
const hostile = [];
const add = (what, token, type = 'id_token') => hostile.push([what, token, type]);

// No algorithm, or another one than the key's.
for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null]) {
  add(`alg ${alg}`, `${b64({ alg, typ: 'JWT' })}.${body}.`);
  add(`alg ${alg} with the signature`, `${b64({ alg, typ: 'JWT', kid: of('ES256').kid })}.${body}.${signature}`);
}
add('no alg at all', `${b64({ typ: 'JWT' })}.${body}.${signature}`);
add('HMAC with the public key as PEM', hmac(pem(of('RS256'))));
add('HMAC with the public key as PKCS#1', hmac(pem(of('RS256'), 'pkcs1')));
add('HMAC with the public EC key', hmac(pem(of('ES256')), { kid: of('ES256').kid }));
add('HMAC with the JWK', hmac(JSON.stringify(of('RS256'))));
add('HMAC with the modulus', hmac(Buffer.from(of('RS256').n, 'base64url')));
add('HMAC with nothing', hmac(''));
add('RS256 under the EC key', forged({ alg: 'RS256' }, claims, ownRsa));
add('ES256 under the RSA key', forged({ kid: of('RS256').kid }));
add('PS256, which is not pinned', `${b64({ alg: 'PS256', kid: of('RS256').kid })}.${body}.${signature}`);
add('es256 in small letters', await signed({ alg: 'ES256' }, claims).then((token) => token.replace(/^[^.]+/, b64({ alg: 'es256', kid: of('ES256').kid }))));

// Keys that the token brings along, and tricks with their names.
const jwk = own.publicKey.export({ format: 'jwk' });
add('the right kid and another key', forged({}));
add('its own jwk', forged({ jwk }));
add('its own jwk without a kid', forged({ jwk, kid: undefined }));
add('jku', forged({ jku: 'http://127.0.0.1:9/jwks', kid: 'x' }));
add('jku of the provider', await signed({ jku: `${issuer}/jwks` }, claims));
add('x5u', forged({ x5u: 'http://127.0.0.1:9/c' }));
add('x5c', forged({ x5c: ['MIIB'] }));
for (const kid of ['../../../../dev/null', '/dev/null', "' OR 1=1 --", 'x\u0000', '', 'a'.repeat(5000), 1, null, ['x'], { a: 1 }, `${of('ES256').kid} `]) {
  add(`kid ${JSON.stringify(kid).slice(0, 40)}`, forged({ kid }));
  if (kid !== null && typeof kid !== 'string') add(`kid ${JSON.stringify(kid)} really signed`, await signed({ kid }, claims));
}
add('crit', await signed({ crit: ['exp'] }, claims));
add('crit b64', await signed({ b64: false, crit: ['b64'] }, claims));
add('zip', await signed({ zip: 'DEF' }, claims));

// Signatures.
add('no signature', `${head}.${body}.`);
add('two parts', `${head}.${body}`);
add('four parts', `${good}.x`);
add('five parts', `${head}.${body}.${signature}.${body}.${head}`);
add('zeros for a signature', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`);
add('a cut signature', good.slice(0, -2));
add('a longer signature', `${good}AA`);
add('padding', `${good}==`);
add('a blank', `${head}.${body} .${signature}`);
add('another body', `${head}.${b64({ ...claims, sub: 'clinician', role: 'clinician' })}.${signature}`);
add('another header', `${b64({ alg: 'ES256', kid: of('ES256').kid })}.${body}.${signature}`);
add('a body twice as JSON', `${head}.${Buffer.from(`{"sub":"clinician",${JSON.stringify(claims).slice(1)}`).toString('base64url')}.${signature}`);

// Really signed, for something else.
for (const [what, change] of Object.entries({
  'another issuer': { iss: 'https://elsewhere.example.com' },
  'the issuer with a slash': { iss: `${issuer}/` },
  'the issuer in capitals': { iss: issuer.toUpperCase() },
  'no issuer': { iss: undefined },
  'a list of issuers': { iss: [issuer] },
  'another client': { aud: other },
  'no audience': { aud: undefined },
  'an empty list of audiences': { aud: [] },
  'the client in capitals': { aud: client.toUpperCase() },
  'two audiences and no azp': { aud: [client, other] },
  'two audiences and the azp of another': { aud: [client, other], azp: other },
  'one audience and the azp of another': { azp: other },
  'expired': { exp: now - 3600, iat: now - 7200 },
  'no end': { exp: undefined },
  'an end in words': { exp: `${now + 300}` },
  'not yet': { nbf: now + 3600 },
  'from the future': { iat: now + 3600 },
  'from long ago': { iat: now - 40 * 24 * 3600 },
  'nobody': { sub: undefined },
  'an empty subject': { sub: '' },
  'a subject that is no text': { sub: 7 },
  'a subject with a line feed': { sub: 'analyst\nclinician' },
  'a role that is no word': { role: 'clinician; admin' },
  'a role that is an object': { role: { is: 'clinician' } },
})) add(`really signed: ${what}`, await signed({ typ: 'JWT' }, { ...claims, ...change }));
for (const typ of ['dpop+jwt', 'logout+jwt', 'secevent+jwt', 'at+jwt', 'application/at+jwt', 'JOSE', 'x', 1]) {
  add(`really signed: typ ${typ}`, await signed({ typ }, claims));
}
add('an access token for an id_token', await signed({ typ: 'at+jwt' }, access), 'id_token');
add('an id_token for an access token', good, 'access_token');
add('an access token without its type', await signed({ typ: 'JWT' }, access), 'access_token');
for (const [what, change] of Object.entries({ 'for another service': { aud: 'https://elsewhere.example.com' }, 'of another client': { client_id: other }, 'of no client': { client_id: undefined } })) {
  add(`an access token ${what}`, await signed({ typ: 'at+jwt' }, { ...access, ...change }), 'access_token');
}
add('a large one', await signed({ typ: 'JWT' }, { ...claims, x: 'x'.repeat(40_000) }));
add('no JSON', `${b64('{')}.${body}.${signature}`);
add('nothing', '');
add('dots', '..');
console.log(JSON.stringify({ good, goodAccess: await signed({ typ: 'at+jwt' }, access), hostile }));
