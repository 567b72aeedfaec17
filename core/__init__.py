"""What Snug knows: models, machines, plans and jobs. No Qt, and no torch at module level.

This page is the face: the names that `app` may use. Each is imported on first use, so that a window which only
wants to look at the machine does not pay for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_FACE = {
    "answer.answers": ("Answer", "CONTEXTS", "GRID_KV_TYPES", "Grid", "answer_for", "verdict_grid"),
    "answer.advice": ("Advice",),
    "answer.arithmetic": ("Arithmetic", "Part", "arithmetic_of", "band_of"),
    "answer.calibration": ("keep_calibration", "kept_calibration"),
    "answer.choice": (
        "Choice",
        "Levels",
        "choose",
        "choose_among",
        "judged_context",
        "judged_with",
        "least_level",
        "longest_context",
    ),
    "running.control": ("Control", "Limits", "Stop"),
    "answer.counterfactuals": ("Change", "Counterfactual", "counterfactuals_of"),
    "answer.placement": ("Placement", "as_placed", "place_model", "reason_at_a_glance"),
    "answer.run_lines": ("RunLine", "default_name", "run_lines"),
    "answer.speed": ("Calibration", "Rate", "Speed", "calibrate", "estimate_speed"),
    "errors": ("Cancelled", "JobFailed", "SnugError"),
    "events": ("Begun", "Done", "Event", "Failed", "Note", "Paused", "Progress", "from_json", "to_json"),
    "cards.card_file": ("card_path",),
    "check": ("Check", "check_model", "check_of", "open_to_check"),
    "checkpoint": ("open_model", "open_quickly"),
    "doctor": ("examine",),
    "running.failures": ("memory_kills", "worker_ended"),
    "fit": ("Fit", "Verdict", "estimate_fit", "largest_context"),
    "answer.glance": ("Glance", "Wish", "glance_at"),
    "headers": ("Header", "open_headers", "predict_header"),
    "hardware": (
        "Disk",
        "GivenGpu",
        "Gpu",
        "Hardware",
        "Measured",
        "Memory",
        "Override",
        "Source",
        "detect",
        "find_gpu",
        "known_gpus",
        "measure",
        "override",
        "read_override",
        "read_size",
        "source_of",
        "with_measured",
    ),
    "hub": (
        "Account",
        "Filters",
        "GgufChoice",
        "HeaderSource",
        "Hub",
        "HubSetting",
        "HubSource",
        "RangeReader",
        "Repo",
        "RepoFile",
        "RepoInfo",
        "SEARCH_SORTS",
        "as_hub_source",
        "card_text",
        "close_connections",
        "connect",
        "downloaded",
        "drop_download",
        "gguf_choices",
        "gguf_repos_of",
        "header_source",
        "hub_facts",
        "hub_settings",
        "hub_source",
        "line_speed",
        "login",
        "logout",
        "open_remote",
        "picture_bytes",
        "picture_of",
        "pull",
        "repo_info",
        "search_models",
        "wanted_files",
        "whoami",
    ),
    "imatrix": ("ImportanceMatrix", "check_importance", "read_importance"),
    "jobs.job": (
        "ENDED",
        "Job",
        "JobState",
        "PullJob",
        "QuantizeJob",
        "ReproduceJob",
        "joined",
        "lanes_of",
        "model_name",
    ),
    "known": ("known_model", "known_notes"),
    "library": (
        "DiskUse",
        "Histogram",
        "InspectedFile",
        "LibraryItem",
        "Leftover",
        "Library",
        "Origin",
        "Removal",
        "Removed",
        "Trouble",
        "find_items",
        "find_places",
        "inspect_file",
        "memory_file",
        "plan_cleanup",
        "plan_removal",
        "remember_output",
        "apply_removal",
        "scan_library",
        "tensor_histogram",
    ),
    "merge": ("merge_gguf",),
    "memory": ("KV_TYPES",),
    "model": ("Metadata", "ModelInfo", "OutputTensor", "TensorInfo"),
    "answer.options": ("Option", "options_for", "options_of"),
    "running.output": ("part_path",),
    "paths": ("cache_folder", "data_folder", "jobs_folder", "sample_folder", "settings_file"),
    "plan": ("Plan", "PlannedTensor", "make_plan", "make_plans"),
    "running.preflight": ("Alternative", "Preflight", "preflight_of"),
    "running.preflight_all": ("preflight_all",),
    "running.quantize": ("check_job", "run"),
    "answer.recommend": ("Want", "quality_of"),
    "cards.card_reader": ("RecipeCard", "read_card"),
    "cards.reproduce": ("drop_reproduction", "rebuild", "reproduction_of"),
    "recipes": ("RECIPES", "Overrides", "Recipe", "find_recipe", "read_overrides"),
    "stored": ("is_stored", "level_of", "stored_plan"),
    "settings": ("Settings", "load_settings", "save_settings"),
    "verify": ("TensorError", "VerifyReport", "verify_file"),
    "jobs.job_folder": ("JobFolder", "Owner", "all_jobs", "create", "write_job"),
    "running.lock": ("Lock", "take_lock"),
    "jobs.orders": ("Assignment", "DETACH", "assignment_line", "limits_order", "order_line", "stop_order"),
    "jobs.power": ("can_sleep", "on_mains", "put_to_sleep", "seconds_asleep"),
    "jobs.queue_file": ("KeptQueue", "read_queue", "write_queue"),
    "jobs.shell": ("command_line",),
    "jobs.bug_report": ("write_report",),
    "running.journal": ("Leftovers", "journal_path", "leftovers", "throw_away"),
}
_HOME = {name: module for module, names in _FACE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'core' has no attribute {name!r}")
    return getattr(import_module(f"core.{_HOME[name]}"), name)


if TYPE_CHECKING:
    from core.answer.advice import Advice as Advice
    from core.answer.answers import CONTEXTS as CONTEXTS
    from core.answer.answers import GRID_KV_TYPES as GRID_KV_TYPES
    from core.answer.answers import Answer as Answer
    from core.answer.answers import Grid as Grid
    from core.answer.answers import answer_for as answer_for
    from core.answer.answers import verdict_grid as verdict_grid
    from core.answer.arithmetic import Arithmetic as Arithmetic
    from core.answer.arithmetic import Part as Part
    from core.answer.arithmetic import arithmetic_of as arithmetic_of
    from core.answer.arithmetic import band_of as band_of
    from core.answer.calibration import keep_calibration as keep_calibration
    from core.answer.calibration import kept_calibration as kept_calibration
    from core.answer.choice import Choice as Choice
    from core.answer.choice import Levels as Levels
    from core.answer.choice import choose as choose
    from core.answer.choice import choose_among as choose_among
    from core.answer.choice import judged_context as judged_context
    from core.answer.choice import judged_with as judged_with
    from core.answer.choice import least_level as least_level
    from core.answer.choice import longest_context as longest_context
    from core.answer.counterfactuals import Change as Change
    from core.answer.counterfactuals import Counterfactual as Counterfactual
    from core.answer.counterfactuals import counterfactuals_of as counterfactuals_of
    from core.answer.glance import Glance as Glance
    from core.answer.glance import Wish as Wish
    from core.answer.glance import glance_at as glance_at
    from core.answer.options import Option as Option
    from core.answer.options import options_for as options_for
    from core.answer.options import options_of as options_of
    from core.answer.placement import Placement as Placement
    from core.answer.placement import as_placed as as_placed
    from core.answer.placement import place_model as place_model
    from core.answer.placement import reason_at_a_glance as reason_at_a_glance
    from core.answer.recommend import Want as Want
    from core.answer.recommend import quality_of as quality_of
    from core.answer.run_lines import RunLine as RunLine
    from core.answer.run_lines import default_name as default_name
    from core.answer.run_lines import run_lines as run_lines
    from core.answer.speed import Calibration as Calibration
    from core.answer.speed import Rate as Rate
    from core.answer.speed import Speed as Speed
    from core.answer.speed import calibrate as calibrate
    from core.answer.speed import estimate_speed as estimate_speed
    from core.cards.card_file import card_path as card_path
    from core.cards.card_reader import RecipeCard as RecipeCard
    from core.cards.card_reader import read_card as read_card
    from core.cards.reproduce import drop_reproduction as drop_reproduction
    from core.cards.reproduce import rebuild as rebuild
    from core.cards.reproduce import reproduction_of as reproduction_of
    from core.check import Check as Check
    from core.check import check_model as check_model
    from core.check import check_of as check_of
    from core.check import open_to_check as open_to_check
    from core.checkpoint import open_model as open_model
    from core.checkpoint import open_quickly as open_quickly
    from core.doctor import examine as examine
    from core.errors import Cancelled as Cancelled
    from core.errors import JobFailed as JobFailed
    from core.errors import SnugError as SnugError
    from core.events import Begun as Begun
    from core.events import Done as Done
    from core.events import Event as Event
    from core.events import Failed as Failed
    from core.events import Note as Note
    from core.events import Paused as Paused
    from core.events import Progress as Progress
    from core.events import from_json as from_json
    from core.events import to_json as to_json
    from core.fit import Fit as Fit
    from core.fit import Verdict as Verdict
    from core.fit import estimate_fit as estimate_fit
    from core.fit import largest_context as largest_context
    from core.hardware import Disk as Disk
    from core.hardware import GivenGpu as GivenGpu
    from core.hardware import Gpu as Gpu
    from core.hardware import Hardware as Hardware
    from core.hardware import Measured as Measured
    from core.hardware import Memory as Memory
    from core.hardware import Override as Override
    from core.hardware import Source as Source
    from core.hardware import detect as detect
    from core.hardware import find_gpu as find_gpu
    from core.hardware import known_gpus as known_gpus
    from core.hardware import measure as measure
    from core.hardware import override as override
    from core.hardware import read_override as read_override
    from core.hardware import read_size as read_size
    from core.hardware import source_of as source_of
    from core.hardware import with_measured as with_measured
    from core.headers import Header as Header
    from core.headers import open_headers as open_headers
    from core.headers import predict_header as predict_header
    from core.hub import SEARCH_SORTS as SEARCH_SORTS
    from core.hub import Account as Account
    from core.hub import Filters as Filters
    from core.hub import GgufChoice as GgufChoice
    from core.hub import HeaderSource as HeaderSource
    from core.hub import Hub as Hub
    from core.hub import HubSetting as HubSetting
    from core.hub import HubSource as HubSource
    from core.hub import RangeReader as RangeReader
    from core.hub import Repo as Repo
    from core.hub import RepoFile as RepoFile
    from core.hub import RepoInfo as RepoInfo
    from core.hub import as_hub_source as as_hub_source
    from core.hub import card_text as card_text
    from core.hub import close_connections as close_connections
    from core.hub import connect as connect
    from core.hub import downloaded as downloaded
    from core.hub import drop_download as drop_download
    from core.hub import gguf_choices as gguf_choices
    from core.hub import gguf_repos_of as gguf_repos_of
    from core.hub import header_source as header_source
    from core.hub import hub_facts as hub_facts
    from core.hub import hub_settings as hub_settings
    from core.hub import hub_source as hub_source
    from core.hub import line_speed as line_speed
    from core.hub import login as login
    from core.hub import logout as logout
    from core.hub import open_remote as open_remote
    from core.hub import picture_bytes as picture_bytes
    from core.hub import picture_of as picture_of
    from core.hub import pull as pull
    from core.hub import repo_info as repo_info
    from core.hub import search_models as search_models
    from core.hub import wanted_files as wanted_files
    from core.hub import whoami as whoami
    from core.imatrix import ImportanceMatrix as ImportanceMatrix
    from core.imatrix import check_importance as check_importance
    from core.imatrix import read_importance as read_importance
    from core.jobs.bug_report import write_report as write_report
    from core.jobs.job import ENDED as ENDED
    from core.jobs.job import Job as Job
    from core.jobs.job import JobState as JobState
    from core.jobs.job import PullJob as PullJob
    from core.jobs.job import QuantizeJob as QuantizeJob
    from core.jobs.job import ReproduceJob as ReproduceJob
    from core.jobs.job import joined as joined
    from core.jobs.job import lanes_of as lanes_of
    from core.jobs.job import model_name as model_name
    from core.jobs.job_folder import JobFolder as JobFolder
    from core.jobs.job_folder import Owner as Owner
    from core.jobs.job_folder import all_jobs as all_jobs
    from core.jobs.job_folder import create as create
    from core.jobs.job_folder import write_job as write_job
    from core.jobs.orders import DETACH as DETACH
    from core.jobs.orders import Assignment as Assignment
    from core.jobs.orders import assignment_line as assignment_line
    from core.jobs.orders import limits_order as limits_order
    from core.jobs.orders import order_line as order_line
    from core.jobs.orders import stop_order as stop_order
    from core.jobs.power import can_sleep as can_sleep
    from core.jobs.power import on_mains as on_mains
    from core.jobs.power import put_to_sleep as put_to_sleep
    from core.jobs.power import seconds_asleep as seconds_asleep
    from core.jobs.queue_file import KeptQueue as KeptQueue
    from core.jobs.queue_file import read_queue as read_queue
    from core.jobs.queue_file import write_queue as write_queue
    from core.jobs.shell import command_line as command_line
    from core.known import known_model as known_model
    from core.known import known_notes as known_notes
    from core.library import DiskUse as DiskUse
    from core.library import Histogram as Histogram
    from core.library import InspectedFile as InspectedFile
    from core.library import Leftover as Leftover
    from core.library import Library as Library
    from core.library import LibraryItem as LibraryItem
    from core.library import Origin as Origin
    from core.library import Removal as Removal
    from core.library import Removed as Removed
    from core.library import Trouble as Trouble
    from core.library import apply_removal as apply_removal
    from core.library import find_items as find_items
    from core.library import find_places as find_places
    from core.library import inspect_file as inspect_file
    from core.library import memory_file as memory_file
    from core.library import plan_cleanup as plan_cleanup
    from core.library import plan_removal as plan_removal
    from core.library import remember_output as remember_output
    from core.library import scan_library as scan_library
    from core.library import tensor_histogram as tensor_histogram
    from core.memory import KV_TYPES as KV_TYPES
    from core.merge import merge_gguf as merge_gguf
    from core.model import LeftOut as LeftOut
    from core.model import Metadata as Metadata
    from core.model import ModelInfo as ModelInfo
    from core.model import OutputTensor as OutputTensor
    from core.model import TensorInfo as TensorInfo
    from core.paths import cache_folder as cache_folder
    from core.paths import data_folder as data_folder
    from core.paths import jobs_folder as jobs_folder
    from core.paths import sample_folder as sample_folder
    from core.paths import settings_file as settings_file
    from core.plan import Plan as Plan
    from core.plan import PlannedTensor as PlannedTensor
    from core.plan import make_plan as make_plan
    from core.plan import make_plans as make_plans
    from core.recipes import RECIPES as RECIPES
    from core.recipes import Overrides as Overrides
    from core.recipes import Recipe as Recipe
    from core.recipes import find_recipe as find_recipe
    from core.recipes import read_overrides as read_overrides
    from core.running.control import Control as Control
    from core.running.control import Limits as Limits
    from core.running.control import Stop as Stop
    from core.running.failures import memory_kills as memory_kills
    from core.running.failures import worker_ended as worker_ended
    from core.running.journal import Leftovers as Leftovers
    from core.running.journal import journal_path as journal_path
    from core.running.journal import leftovers as leftovers
    from core.running.journal import throw_away as throw_away
    from core.running.lock import Lock as Lock
    from core.running.lock import take_lock as take_lock
    from core.running.output import part_path as part_path
    from core.running.preflight import Alternative as Alternative
    from core.running.preflight import Preflight as Preflight
    from core.running.preflight import preflight_of as preflight_of
    from core.running.preflight_all import preflight_all as preflight_all
    from core.running.quantize import check_job as check_job
    from core.running.quantize import run as run
    from core.settings import Settings as Settings
    from core.settings import load_settings as load_settings
    from core.settings import save_settings as save_settings
    from core.stored import is_stored as is_stored
    from core.stored import level_of as level_of
    from core.stored import stored_plan as stored_plan
    from core.verify import TensorError as TensorError
    from core.verify import VerifyReport as VerifyReport
    from core.verify import verify_file as verify_file
