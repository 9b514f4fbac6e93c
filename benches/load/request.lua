-- The request that wrk sends, to the gateway and to the bare handler alike. TOKEN comes from the environment.
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("TOKEN") or "")
wrk.headers["Content-Type"] = "application/json"
wrk.body =
  '{"filename":"menu.jpg","size":48213,"contentType":"image/jpeg","path":"uploads/u-42/","classification":"internal"}'
