defmodule Annals.CommandedMiddleware do
  @moduledoc """
  Puts every command of a Commanded router on record in Annals: before it is dispatched, and again
  with what became of it. Nothing but OTP: `:httpc`, and a JSON encoder of thirty lines.

      defmodule MyApp.Router do
        use Commanded.Commands.Router
        middleware Annals.CommandedMiddleware
        # …
      end

      config :annals,
        url: "https://annals.example/api", tenant: "acme", key: System.fetch_env!("ANNALS_KEY"),
        closed: true,         # false: a command runs although it could not be put on record
        async: false,         # true: `Prefer: respond-async`, never waits for storage
        time_limit: 30        # seconds until a command without an outcome is listed as in doubt

  The command's uuid is its id in Annals, so a dispatch that Commanded tries again is on record once.
  `extra_applications: [:inets, :ssl]` in `mix.exs` starts what it needs.

  Who acted is taken from the metadata (`"user_id"` or `:user_id`); the API key needs the roles
  `writer` and `delegate` for it.

  Fails closed: where the record cannot be made, the pipeline is halted with
  `{:error, :audit_unavailable}` before the aggregate sees the command. An *outcome* that cannot be told
  never changes the answer of the command: it is logged, and Annals lists the command as in doubt.
  """

  @behaviour Commanded.Middleware
  require Logger

  @impl true
  def before_dispatch(pipeline) do
    started = System.monotonic_time(:microsecond)
    pipeline = %{pipeline | assigns: Map.put(pipeline.assigns, :annals_started, started)}

    record = %{
      id: pipeline.command_uuid,
      type: inspect(pipeline.command.__struct__),
      data: pipeline.command,
      metadata: pipeline.metadata,
      causationId: pipeline.causation_id,
      correlationId: pipeline.correlation_id,
      occurredAt: DateTime.utc_now(),
      actor: actor(pipeline.metadata),
      timeLimit: setting(:time_limit, 30)
    }

    case post("commands", record) do
      :ok ->
        pipeline

      # This uuid is on record: somebody dispatches the same command again.
      {:error, {409, _}} ->
        pipeline

      {:error, reason} ->
        Logger.error("annals: a command is not on record (#{inspect(reason)})")

        if setting(:closed, true),
          do: %{pipeline | halted: true, response: {:error, :audit_unavailable}},
          else: pipeline
    end
  end

  @impl true
  def after_dispatch(pipeline), do: tell(pipeline, %{status: "succeeded"})

  @impl true
  def after_failure(pipeline) do
    error = Map.get(pipeline.assigns, :error)
    reason = Map.get(pipeline.assigns, :error_reason)
    tell(pipeline, %{status: "failed", error: text(error), errorReason: text(reason)})
  end

  defp tell(pipeline, outcome) do
    started = Map.get(pipeline.assigns, :annals_started)
    took = if started, do: System.monotonic_time(:microsecond) - started
    outcome = Map.merge(outcome, %{durationMicros: took, actor: actor(pipeline.metadata)})
    id = pipeline.command_uuid

    with {:error, reason} <- post("commands/#{segment(id)}/outcome", outcome) do
      Logger.warning("annals: the outcome of #{id} is not on record (#{inspect(reason)})")
    end

    pipeline
  end

  # One retry: every call is idempotent by its own id.
  defp post(path, body, tries \\ 2) do
    url = "#{setting(:url)}/tenants/#{setting(:tenant)}/#{path}"
    json = encode(body)

    headers =
      [{'authorization', to_charlist("Bearer #{setting(:key, "")}")}] ++
        if(setting(:async, false), do: [{'prefer', 'respond-async'}], else: [])

    request = {to_charlist(url), headers, 'application/json', json}
    options = [timeout: setting(:timeout, 5_000), connect_timeout: 2_000] ++ tls(url)

    case :httpc.request(:post, request, options, body_format: :binary) do
      {:ok, {{_, status, _}, _, _}} when status in 200..299 -> :ok
      {:ok, {{_, status, _}, _, _}} when status >= 500 and tries > 1 -> post(path, body, tries - 1)
      {:ok, {{_, status, _}, _, answer}} -> {:error, {status, answer}}
      {:error, _} when tries > 1 -> post(path, body, tries - 1)
      {:error, reason} -> {:error, reason}
    end
  end

  # The key goes to nobody else: OTP 25 verifies a host only when it is told to.
  defp tls("https:" <> _), do: [ssl: :httpc.ssl_verify_host_options(true)]
  defp tls(_), do: []

  defp actor(metadata) do
    case Map.get(metadata, "user_id") || Map.get(metadata, :user_id) do
      nil -> nil
      id -> %{type: "user", id: to_string(id)}
    end
  end

  defp setting(name, default \\ nil), do: Application.get_env(:annals, name, default)

  defp text(nil), do: nil
  defp text(term) when is_binary(term), do: term
  defp text(term), do: inspect(term)

  # An id outside [A-Za-z0-9._-] is written in a path as `~` and base64url.
  @doc false
  def segment(id) do
    if id =~ ~r/\A[A-Za-z0-9._-]+\z/ and id not in [".", ".."],
      do: id,
      else: "~" <> Base.url_encode64(id, padding: false)
  end

  @doc false
  def encode(nil), do: "null"
  def encode(value) when is_boolean(value), do: to_string(value)
  def encode(value) when is_atom(value), do: encode(Atom.to_string(value))
  def encode(value) when is_integer(value), do: Integer.to_string(value)
  def encode(value) when is_float(value), do: Float.to_string(value)
  def encode(%DateTime{} = value), do: encode(DateTime.to_iso8601(value))
  def encode(%module{} = value) when module in [Date, Time, NaiveDateTime], do: encode(to_string(value))
  def encode(%_{} = struct), do: struct |> Map.from_struct() |> encode()
  def encode(list) when is_list(list), do: "[" <> Enum.map_join(list, ",", &encode/1) <> "]"
  def encode(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> encode()

  def encode(map) when is_map(map) do
    members = for {name, value} <- map, value != nil, do: encode(to_string(name)) <> ":" <> encode(value)
    "{" <> Enum.join(members, ",") <> "}"
  end

  def encode(text) when is_binary(text) do
    if String.valid?(text) do
      escaped = for <<c::utf8 <- text>>, into: "", do: escape(c)
      "\"" <> escaped <> "\""
    else
      encode(Base.encode64(text))
    end
  end

  def encode(other), do: encode(inspect(other))

  defp escape(?"), do: "\\\""
  defp escape(?\\), do: "\\\\"
  defp escape(c) when c < 0x20, do: "\\u" <> String.pad_leading(Integer.to_string(c, 16), 4, "0")
  defp escape(c), do: <<c::utf8>>
end
