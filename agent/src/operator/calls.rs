//! `POST /api/v1`, checked in the order that Mesos checks in.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use regency_telemetry::log_level;
use regency_wire::content::{APPLICATION_RECORDIO, ContentTypeError};
use regency_wire::v1::agent::call::Type;
use regency_wire::v1::agent::{Call, Response as Answer, response};
use regency_wire::{ContentType, decode, v1, validate};

use super::reply::message;
use super::streams::{self, Form, MESSAGE_CONTENT_TYPE};
use super::{containers, drain, files, logging, model, shown, version};
use crate::http::Answers;
use crate::refused::Refused;

/// Most bytes of a call.
const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) async fn call(
    State(answers): State<Arc<Answers>>,
    request: Request,
) -> Result<Response<Body>, Refused> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Refused::not_post(&parts.method));
    }
    // A value that is not text is none of those expected.
    let content_type = parts.headers.get(CONTENT_TYPE);
    let content_type = content_type.map(|value| value.to_str().unwrap_or("?"));
    if content_type == Some(APPLICATION_RECORDIO) {
        let of_records = message_content_type(&parts.headers)?;
        return streams::attach_input(&answers, of_records, body).await;
    }
    let content = ContentType::of_request(content_type)?;
    let bytes = whole(body).await?;
    let call: Call = decode(content, &bytes).map_err(Refused::bad)?;
    let call_type = validate::agent::check(&call).map_err(Refused::bad)?;
    match call_type {
        Type::AttachContainerInput => {
            let words = format!(
                "Expecting 'Content-Type' to be {APPLICATION_RECORDIO} for ATTACH_CONTAINER_INPUT call"
            );
            Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words))
        }
        Type::AttachContainerOutput => {
            let form = Form::accepted(&parts.headers)?;
            streams::attach_output(&answers, call, form).await
        }
        Type::LaunchNestedContainerSession => {
            let form = Form::accepted(&parts.headers)?;
            streams::session(&answers, call, form).await
        }
        _ => {
            let accepted = accepted(&parts.headers)?;
            carry_out(&answers, call, call_type, accepted).await
        }
    }
}

/// The type of the records that a request consists of.
fn message_content_type(headers: &HeaderMap) -> Result<ContentType, Refused> {
    let header = headers.get(MESSAGE_CONTENT_TYPE);
    let header = header.map(|value| value.to_str().unwrap_or("?"));
    ContentType::of_request(header).map_err(|error| match error {
        ContentTypeError::Missing => {
            Refused::bad("Expecting 'Message-Content-Type' to be set for streaming requests")
        }
        ContentTypeError::Unsupported => {
            let words = "Expecting 'Message-Content-Type' of application/json or \
                         application/x-protobuf";
            Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)
        }
    })
}

async fn whole(body: Body) -> Result<Bytes, Refused> {
    axum::body::to_bytes(body, CALL_BYTES_MAX)
        .await
        .map_err(|error| {
            let words = format!(
                "the call cannot be read, or has more than {CALL_BYTES_MAX} bytes: {error}"
            );
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, words)
        })
}

fn accepted(headers: &HeaderMap) -> Result<ContentType, Refused> {
    let accept = headers.get_all(ACCEPT).iter();
    let accept = accept.filter_map(|value| value.to_str().ok());
    Ok(ContentType::acceptable(accept)?)
}

async fn carry_out(
    answers: &Arc<Answers>,
    call: Call,
    call_type: Type,
    accepted: ContentType,
) -> Result<Response<Body>, Refused> {
    let mut answer = Answer::default();
    let kind = match call_type {
        Type::GetHealth => {
            answers.look().await?;
            answer.get_health = Some(response::GetHealth { healthy: true });
            response::Type::GetHealth
        }
        Type::GetFlags => {
            let flags = answers.flags.iter().map(|(name, value)| v1::Flag {
                name: name.clone(),
                value: Some(value.clone()),
            });
            let flags = flags.collect();
            answer.get_flags = Some(response::GetFlags { flags });
            response::Type::GetFlags
        }
        Type::GetVersion => {
            let version_info = version::version_info();
            answer.get_version = Some(response::GetVersion { version_info });
            response::Type::GetVersion
        }
        Type::GetMetrics => {
            let keys = answers.snapshot().await?;
            let metrics = keys.into_iter().map(|(name, value)| v1::Metric {
                name,
                value: Some(value),
            });
            let metrics = metrics.collect();
            answer.get_metrics = Some(response::GetMetrics { metrics });
            response::Type::GetMetrics
        }
        Type::GetLoggingLevel => {
            answer.get_logging_level = Some(response::GetLoggingLevel { level: log_level() });
            response::Type::GetLoggingLevel
        }
        Type::SetLoggingLevel => {
            return logging::set_level(&call.set_logging_level.unwrap_or_default());
        }
        Type::ListFiles => {
            let path = call.list_files.unwrap_or_default().path;
            let files = Arc::clone(&answers.files);
            let file_infos = answers.at_leisure(move || files.list(&path)).await??;
            answer.list_files = Some(response::ListFiles { file_infos });
            response::Type::ListFiles
        }
        Type::ReadFile => {
            answer.read_file = Some(read_file(answers, call.read_file.unwrap_or_default()).await?);
            response::Type::ReadFile
        }
        Type::GetState => {
            let view = answers.look().await?;
            let frameworks = model::frameworks(&view, &answers.paths);
            answer.get_state = Some(response::GetState {
                get_tasks: Some(tasks(&frameworks)),
                get_executors: Some(executors(&frameworks)),
                get_frameworks: Some(frameworks_of(&frameworks)),
            });
            response::Type::GetState
        }
        Type::GetFrameworks | Type::GetExecutors | Type::GetTasks => {
            let view = answers.look().await?;
            let frameworks = model::frameworks(&view, &answers.paths);
            match call_type {
                Type::GetFrameworks => {
                    answer.get_frameworks = Some(frameworks_of(&frameworks));
                    response::Type::GetFrameworks
                }
                Type::GetExecutors => {
                    answer.get_executors = Some(executors(&frameworks));
                    response::Type::GetExecutors
                }
                _ => {
                    answer.get_tasks = Some(tasks(&frameworks));
                    response::Type::GetTasks
                }
            }
        }
        Type::GetContainers => {
            let all = containers::list(answers, call.get_containers).await?;
            let containers = all.into_iter().map(shown::message).collect();
            answer.get_containers = Some(response::GetContainers { containers });
            response::Type::GetContainers
        }
        Type::GetOperations => {
            // They take effect at the masters; nothing of them waits here.
            answer.get_operations = Some(response::GetOperations::default());
            response::Type::GetOperations
        }
        Type::GetAgent => {
            let view = answers.look().await?;
            let id = view.durable.agent_id.as_ref().map(v1::AgentId::from);
            answer.get_agent = Some(response::GetAgent {
                agent_info: Some(v1::AgentInfo {
                    id,
                    ..answers.description.info.clone()
                }),
                drain_config: view.drain.map(drain::config),
                estimated_drain_start_time: view.drain.map(drain::start),
            });
            response::Type::GetAgent
        }
        Type::GetResourceProviders => {
            answer.get_resource_providers = Some(response::GetResourceProviders::default());
            response::Type::GetResourceProviders
        }
        Type::PruneImages => {
            let words = "PRUNE_IMAGES: there are no container images on this agent";
            return Err(Refused::not_implemented(words));
        }
        Type::AddResourceProviderConfig
        | Type::UpdateResourceProviderConfig
        | Type::RemoveResourceProviderConfig
        | Type::MarkResourceProviderGone => {
            let words = format!(
                "{}: there are no resource providers",
                call_type.as_str_name()
            );
            return Err(Refused::not_implemented(words));
        }
        _ => return containers::carry_out(answers, call, call_type, accepted).await,
    };
    answer.r#type = Some(kind as i32);
    Ok(message(accepted, &answer))
}

async fn read_file(
    answers: &Arc<Answers>,
    call: v1::agent::call::ReadFile,
) -> Result<response::ReadFile, Refused> {
    let files = Arc::clone(&answers.files);
    let part = answers.at_leisure(move || files.read(&call.path, Some(call.offset), call.length));
    let files::Part { size, data } = part.await??;
    let data = data.into();
    Ok(response::ReadFile { size, data })
}

type Frameworks = std::collections::BTreeMap<regency_types::FrameworkId, model::Framework>;

fn frameworks_of(frameworks: &Frameworks) -> response::GetFrameworks {
    let mut answer = response::GetFrameworks::default();
    for framework in frameworks.values() {
        let shown = response::get_frameworks::Framework {
            framework_info: framework.info.clone(),
        };
        match framework.executors.is_empty() {
            true => answer.completed_frameworks.push(shown),
            false => answer.frameworks.push(shown),
        }
    }
    answer
}

fn executors(frameworks: &Frameworks) -> response::GetExecutors {
    let shown = |executor: &model::Executor| response::get_executors::Executor {
        executor_info: executor.info.clone(),
    };
    let mut answer = response::GetExecutors::default();
    for framework in frameworks.values() {
        answer
            .executors
            .extend(framework.executors.iter().map(shown));
        let completed = framework.completed.iter().map(shown);
        answer.completed_executors.extend(completed);
    }
    answer
}

fn tasks(frameworks: &Frameworks) -> response::GetTasks {
    let mut answer = response::GetTasks::default();
    for framework in frameworks.values() {
        for executor in framework.executors.iter().chain(&framework.completed) {
            answer.queued_tasks.extend(executor.queued.iter().cloned());
            answer
                .launched_tasks
                .extend(executor.launched.iter().cloned());
            answer
                .terminated_tasks
                .extend(executor.terminated.iter().cloned());
            answer
                .completed_tasks
                .extend(executor.completed.iter().cloned());
        }
    }
    answer
}
