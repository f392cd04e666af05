//! The traffic of the demo: messages as Marain's engine and its ingestion API put them on the queue.

use serde_json::{Value, json};

use super::TENANT;

const CREATED: &str = "application/marain.workflows.workflowinstance.creationcloudeventdata";
const TRANSITION: &str = "application/marain.workflows.workflowinstance.transitioncloudeventdata";

/// Three expense claims: one approved, one faulted, one whose trigger was ignored.
pub(super) struct Claims<'a> {
    pub(super) run: &'a str,
}

impl Claims<'_> {
    pub(super) fn id(&self, claim: u32) -> String {
        format!("expense-claim-{}-{claim}", self.run)
    }

    pub(super) fn messages(&self) -> Vec<Value> {
        let mut messages = Vec::new();
        for (claim, claimant) in [(1, "J George"), (2, "A Okafor"), (3, "M Lindqvist")] {
            messages.push(self.start_request(claim, claimant));
            messages.push(self.created(claim, claimant));
            messages.push(self.trigger(claim, "submit"));
            messages.push(self.transition(
                claim,
                1,
                "submit",
                "waiting-for-submission",
                "waiting-for-approval",
                "waiting",
            ));
        }
        messages.push(self.trigger(1, "approve"));
        messages.push(self.transition(1, 2, "approve", "waiting-for-approval", "approved", "complete"));
        messages.push(self.trigger(2, "approve"));
        messages.push(self.faulted(2));
        messages.push(self.ignored(3));
        messages
    }

    /// Marain's message envelope, as its ingestion API puts it on the queue.
    fn envelope(&self, operation: &str, body: Value) -> Value {
        let mut envelope = json!({
            "contentType": "application/vnd.marain.workflows.hosted.messageenvelope",
            "tenantId": TENANT,
            "operationId": uuid::Uuid::new_v4().to_string(),
            "isStartWorkflowRequest": operation == "start",
            "isTrigger": operation == "trigger",
            "properties": {},
        });
        envelope[if operation == "start" { "startWorkflowInstanceRequest" } else { "trigger" }] = body;
        envelope
    }

    fn start_request(&self, claim: u32, claimant: &str) -> Value {
        self.envelope(
            "start",
            json!({
                "contentType": "application/vnd.marain.workflows.hosted.startworkflowinstancerequest",
                "context": { "Claimant": claimant, "CostCenter": "GD3724" },
                "requestId": format!("request-{}-{claim}", self.run),
                "workflowId": "simple-expenses-workflow-1",
                "workflowInstanceId": self.id(claim),
            }),
        )
    }

    fn trigger(&self, claim: u32, name: &str) -> Value {
        self.envelope(
            "trigger",
            json!({
                "contentType": "application/vnd.marain.workflows.hosted.trigger",
                "id": format!("{name}-{}-{claim}", self.run),
                "triggerName": name,
                "parameters": { "comment": "as agreed" },
                "subjects": [self.id(claim)],
            }),
        )
    }

    /// One of Marain's CloudEvents; `step` puts it in its place in time.
    fn event(&self, claim: u32, step: u32, kind: &str, content_type: &str, data: Value) -> Value {
        json!({
            "id": format!("{}-{claim}-{step}", self.run),
            "source": format!("azuresubscriptionid.workflowresourcegroupname.{TENANT}"),
            "specversion": "1.0",
            "subject": self.id(claim),
            "type": format!("io.marain.workflow.{kind}"),
            "time": format!("2026-11-24T09:{claim:02}:{step:02}.1234567Z"),
            "datacontenttype": content_type,
            "data": data,
            "maraintenantid": TENANT,
        })
    }

    fn created(&self, claim: u32, claimant: &str) -> Value {
        let context = json!({ "Claimant": claimant, "CostCenter": "GD3724" });
        self.event(
            claim,
            0,
            "instance.created",
            CREATED,
            json!({
                "contentType": CREATED,
                "workflowInstanceId": self.id(claim),
                "workflowId": "simple-expenses-workflow-1",
                "newState": "waiting-for-submission",
                "newStatus": "waiting",
                "suppliedContext": context,
                "newContext": context,
            }),
        )
    }

    fn transition(
        &self,
        claim: u32,
        step: u32,
        transition: &str,
        from: &str,
        to: &str,
        status: &str,
    ) -> Value {
        self.event(claim, step, "instance.transition-completed", TRANSITION, json!({
            "contentType": TRANSITION,
            "workflowInstanceId": self.id(claim),
            "workflowId": "simple-expenses-workflow-1",
            "trigger": { "triggerName": transition, "parameters": { "comment": "as agreed" }, "subjects": [self.id(claim)] },
            "previousState": from,
            "previousStatus": "waiting",
            "transitionId": transition,
            "newState": to,
            "newStatus": status,
        }))
    }

    fn faulted(&self, claim: u32) -> Value {
        self.event(
            claim,
            2,
            "instance.faulted",
            TRANSITION,
            json!({
                "contentType": TRANSITION,
                "workflowInstanceId": self.id(claim),
                "workflowId": "simple-expenses-workflow-1",
                "previousState": "waiting-for-approval",
                "previousStatus": "waiting",
                "newStatus": "faulted",
            }),
        )
    }

    fn ignored(&self, claim: u32) -> Value {
        self.event(
            claim,
            2,
            "trigger.ignored",
            "application/json",
            json!({
                "workflowInstanceId": self.id(claim),
                "workflowId": "simple-expenses-workflow-1",
                "reason": "no transition of state waiting-for-approval accepts the trigger `submit`",
            }),
        )
    }
}
