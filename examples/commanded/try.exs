# Plays what Commanded does with a middleware, against a running Annals: `scripts/try-commanded.sh`
# starts one. Commanded itself is not needed: a pipeline is a struct with these members.

defmodule Commanded.Middleware do
  @callback before_dispatch(map) :: map
  @callback after_dispatch(map) :: map
  @callback after_failure(map) :: map
end

Code.require_file("lib/annals_middleware.ex", __DIR__)

defmodule Pipeline do
  defstruct [:command, :command_uuid, :causation_id, :correlation_id, :response,
             metadata: %{}, assigns: %{}, halted: false]
end

defmodule CreateApiKey do
  defstruct [:attrs]
end

defmodule Try do
  alias Annals.CommandedMiddleware, as: Middleware

  def get(path) do
    url = to_charlist(Application.get_env(:annals, :url) <> "/tenants/acme/" <> path)
    {:ok, {{_, status, _}, _, body}} = :httpc.request(:get, {url, []}, [], body_format: :binary)
    {status, body}
  end

  def expect(true, _), do: :ok
  def expect(false, what), do: raise("not so: #{what}")

  def pipeline(uuid) do
    %Pipeline{
      command: %CreateApiKey{attrs: %{name: "ci \"key\"\n", password: "canary-elixir"}},
      command_uuid: uuid, causation_id: "F9zq-request", correlation_id: "corr-1",
      metadata: %{"user_id" => 42, ip: {10, 0, 0, 1}}
    }
  end

  def run do
    # It succeeds, and a second dispatch of the same uuid is on record once.
    uuid = "9f1c0a6e-8f0e-4f7e-9f52-5c2f3f5e0001"
    ran = pipeline(uuid) |> Middleware.before_dispatch()
    expect(not ran.halted, "a command that is on record runs")
    Middleware.after_dispatch(ran)
    pipeline(uuid) |> Middleware.before_dispatch()
    {200, body} = get("commands/" <> uuid)
    for part <- [~s("status":"succeeded"), ~s("type":"CreateApiKey"), ~s("causationId":"F9zq-request"),
                 ~s("correlationId":"corr-1"), ~s("id":"42"), ~s("durationMicros":), ~s(ci \\"key\\"\\u000A)] do
      expect(String.contains?(body, part), part <> " in " <> body)
    end
    expect(not String.contains?(body, "canary"), "no secret on record")

    # It fails; its id is no UUID.
    failed = pipeline("not a uuid/1") |> Middleware.before_dispatch()
    failed = %{failed | assigns: Map.merge(failed.assigns, %{error: {:error, :quota}, error_reason: "no quota"})}
    Middleware.after_failure(failed)
    {200, body} = get("commands/" <> Middleware.segment("not a uuid/1"))
    expect(String.contains?(body, ~s("status":"failed")), body)
    expect(String.contains?(body, ~s("errorReason":"no quota")), body)

    # Nothing answers: closed, the command does not run; open, it does.
    url = Application.get_env(:annals, :url)
    Application.put_env(:annals, :url, "http://127.0.0.1:9/api")
    halted = pipeline("closed") |> Middleware.before_dispatch()
    expect(halted.halted and halted.response == {:error, :audit_unavailable}, "fails closed")
    Application.put_env(:annals, :closed, false)
    expect(not (pipeline("open") |> Middleware.before_dispatch()).halted, "fails open")
    Application.put_env(:annals, :url, url)
    IO.puts("the Elixir middleware does what it says")
  end
end

Logger.configure(level: :critical)
{:ok, _} = Application.ensure_all_started(:inets)
Application.put_env(:annals, :url, System.fetch_env!("ANNALS_URL"))
Application.put_env(:annals, :tenant, "acme")
Try.run()
